"""The splits of data, as `--split` names them."""

SPLITS = ("train", "validation", "test")
"""In the order of all tables, and of fingerprints of data in memory."""
