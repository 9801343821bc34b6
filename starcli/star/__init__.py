"""Starlight: the search for a star model; with its own loss added it is the paper's way to fuse."""
