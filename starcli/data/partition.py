"""Division of a data set: validation part, held-out fifth, limit. Pure functions of labels and seeds.

The draws come from NumPy's legacy `RandomState`, whose streams are frozen for good (NEP 19): a checkpoint that names a
split by its seed must mean the same images on every machine and under every later version.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from starcli.errors import StarcliError, number_of

Positions = NDArray[np.int64]
"""Positions of images in file order."""
ClassLabels = NDArray[np.int64]
"""Labels (N,)."""


def split_indices(n: int, val_fraction: float, split_seed: int) -> tuple[Positions, Positions]:
    """Positions of the training and the validation part of `n` images, both rising, together all of them.

    round(n * val_fraction) images, at least one where the fraction is above 0, are drawn without replacement. Raises
    StarcliError for a fraction outside [0, 1), a seed outside [0, 2^32) and where nothing is left to train on.

    >>> split_indices(5, 0.4, 0)
    (array([1, 3, 4]), array([0, 2]))
    """
    if not 0.0 <= val_fraction < 1.0:
        raise StarcliError(f"the validation fraction is {val_fraction}, expected at least 0 and below 1")
    if not 0 <= split_seed < 2**32:
        raise StarcliError(f"the split seed is {split_seed}, expected 0 to {2**32 - 1}")
    if val_fraction == 0.0:
        return np.arange(n), np.empty(0, dtype=np.int64)
    count = max(1, round(n * val_fraction))
    if count >= n:
        raise StarcliError(f"a validation fraction of {val_fraction} leaves none of {n} images to train on")
    drawn = np.random.RandomState(split_seed).permutation(n)
    return np.sort(drawn[count:]).astype(np.int64), np.sort(drawn[:count]).astype(np.int64)


def held_out_fifth(labels: ClassLabels) -> tuple[Positions, Positions]:
    """Fixed 80/20 division of data that come without a test set: training and test positions, both rising.

    Shuffle with seed 0, sort stably by label, take each fifth: a class gives a fifth of its images, give or take one.
    """
    shuffled = np.random.RandomState(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    test = np.zeros(len(labels), dtype=bool)
    test[by_class[::5]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def balanced_prefix(labels: ClassLabels, limit: int | None) -> Positions:
    """Positions of the first `limit` images, as even over the classes as may be, in file order; all for None.

    The first image of each class, then the second of each, and so on: files sorted by class give all classes too.

    >>> balanced_prefix(np.array([0, 0, 0, 1, 1, 1]), 4)
    array([0, 1, 3, 4])
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    if limit < 1:
        raise StarcliError(f"the limit on training images is {limit}, expected at least 1")
    by_class = np.argsort(labels, kind="stable")
    begins = np.concatenate([[0], np.flatnonzero(np.diff(labels[by_class])) + 1])
    lengths = np.diff([*begins, len(labels)])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(begins, lengths)
    return np.sort(np.lexsort((np.arange(len(labels)), rank))[:limit])


def check_labels(named: Sequence[tuple[str, ClassLabels, int]], num_classes: int | None = None) -> int:
    """Number of classes, after checking the labels of (name, labels, number of images), training labels first.

    Classes are 0 .. the largest training label, unless `num_classes` says how many there are. One StarcliError reports
    all faults: no images, counts that differ, labels below 0 or beyond the classes, fewer than two classes.
    """
    problems = []
    for where, labels, count in named:
        if count == 0:
            problems.append(f"{where}: no images")
        if len(labels) != count:
            problems.append(f"{where}: {number_of(len(labels), 'label')} for {number_of(count, 'image')}")
        elif count and labels.min() < 0:
            least = f"label {labels.min()} at position {labels.argmin()}"
            problems.append(f"{where}: {least}, expected 0 or more: the number of each example's class, from 0")
    if problems:
        raise StarcliError("the labels do not fit the images", problems)
    where, labels, count = named[0]
    classes = num_classes if num_classes is not None else int(labels.max()) + 1
    if classes < 2:
        problems.append(f"{where}: only one class, expected at least two")
    elif classes > max(count, 2) and num_classes is None:
        # A wild label would make a network with a head of that size.
        problems.append(f"{where}: label {labels.max()} at position {labels.argmax()}, too large for {count} images")
    else:
        for name, found, _ in named:
            if found.max() >= classes:
                problems.append(
                    f"{name}: label {found.max()} at position {found.argmax()}, expected 0 to {classes - 1} ({where})"
                )
    if problems:
        raise StarcliError("the labels are out of range", list(dict.fromkeys(problems)))
    return classes
