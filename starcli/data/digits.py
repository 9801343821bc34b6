"""Data set `digits`: 1,797 scans of handwritten digits, 8 x 8, inside the package.

Provenance: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
1998, doi:10.24432/C50P49 (CC BY 4.0); its test set, in the order of scikit-learn's bundled copy (`load_digits`), from
which `digits.npz` was made: `images` (1797, 8, 8) uint8, each pixel the number of ink pixels (0 to 16) in a block of 4
x 4 of the scan; `labels` (1797,) uint8; `test` (1797,) bool, true for the 360 images of the test part, which is
`held_out_fifth` of the labels, kept in the file so that it can never change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from starcli.data.loading import Loaded, Part, Request, assemble

FILE = Path(__file__).with_name("digits.npz")
"""Path of the data."""

SPAN = 16.0
"""Largest value of a pixel: sixteen ink pixels make a full block."""


def load_digits(request: Request) -> Loaded:
    """Load 1,437 training and 360 test images of shape (1, 8, 8), ten classes."""
    with np.load(FILE, allow_pickle=False) as file:
        images, labels, test = file["images"][:, None], file["labels"].astype(np.int64), file["test"]
    return assemble(
        "digits",
        Part(images[~test], labels[~test], "digits, training part"),
        Part(images[test], labels[test], "digits, test part"),
        span=SPAN,
        num_classes=10,
    )
