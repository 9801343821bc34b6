"""Figures, as the bytes of a file."""
