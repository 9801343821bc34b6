"""One experiment of the paper, one file."""
