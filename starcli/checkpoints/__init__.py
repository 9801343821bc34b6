"""Checkpoints: weights and what they are, in one file."""
