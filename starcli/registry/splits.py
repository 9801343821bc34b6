"""The splits of data, as `--split` names them."""

SPLITS = ("train", "validation", "test")
