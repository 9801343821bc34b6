"""Arrays as people store them: where the channels of images are, and labels in their usual forms."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from starcli.errors import StarcliError, few

FEW_CHANNELS = 16
"""Largest number of channels that is told from rows and columns by being small."""


def channels_are_last(shape: Sequence[int]) -> bool | None:
    """Whether in (N, A, B, C) the last axis holds the channels, and not the second; None where its sizes do not tell.

    Channels are at most 16, and fewer than rows and columns. Where that decides nothing, images are square; where they
    are not, a second axis of at most 16 before a longer last one holds the channels, as torch has them.

    >>> channels_are_last((100, 3, 32, 32)), channels_are_last((100, 16, 16, 13)), channels_are_last((100, 4, 4, 4))
    (False, True, None)
    """
    _, second, third, last = shape
    few_first = second <= FEW_CHANNELS and second < min(third, last)
    few_last = last <= FEW_CHANNELS and last < min(second, third)
    if few_first != few_last:
        return few_last
    square_first, square_last = 1 < third == last != second, 1 < second == third != last
    if square_first != square_last:
        return square_last
    return False if second <= FEW_CHANNELS < last else None


def class_numbers(labels: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    """Labels (N,) as int64, from integers or floats that are integers, (N,) or (N, 1), or from one-hot rows (N, K).

    Raises StarcliError, which begins with `where`, for all else.

    >>> class_numbers(np.array([[0.0, 1.0], [1.0, 0.0]]), "labels")
    array([1, 0])
    """
    if labels.dtype.kind in "SU":
        way = "np.unique(labels, return_inverse=True)[1]"
        raise StarcliError(f"{where}: words, expected integers (N,): store the number of each word, {way}")
    if labels.dtype.kind not in "iufb" or labels.ndim not in (1, 2):
        raise StarcliError(f"{where}: {labels.dtype} of shape {labels.shape}, expected integers (N,)")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    numbers = labels.astype(np.float64) if labels.dtype.kind == "f" else labels
    if not bool((numbers == np.floor(numbers)).all()) or not bool(np.isfinite(numbers).all()):
        raise StarcliError(f"{where}: {labels.dtype} that are no whole numbers, expected integers (N,)")
    if labels.ndim == 2:
        if not bool(((labels == 0) | (labels == 1)).all()) or not bool((labels.sum(axis=1) == 1).all()):
            raise StarcliError(f"{where}: of shape {labels.shape} and not one-hot, expected integers (N,)")
        labels = np.argmax(labels, axis=1)
    if len(labels) and float(labels.max()) > np.iinfo(np.int64).max:
        raise StarcliError(f"{where}: label {labels.max()} is out of range")
    return np.ascontiguousarray(labels, dtype=np.int64)


def empty_classes(labels: NDArray[np.int64], classes: int) -> str:
    """A note that names the classes without an example among training labels; nothing if all have one.

    >>> empty_classes(np.array([1, 2, 3]), 4)
    'labels are 1 to 3: class 0 has no example (store labels - 1 if they count from 1)'
    >>> empty_classes(np.array([0, 10, 300]), 301)
    '298 of 301 classes have no example: 1 to 9, 11 to 299'
    """
    # gaps between the classes that have examples: a wild label must not make an array of its size
    present = [-1, *np.unique(labels).tolist(), classes]
    gaps = [(one + 1, other - 1) for one, other in pairwise(present) if other - one > 1]
    if not gaps:
        return ""
    if gaps == [(0, 0)]:
        return f"labels are 1 to {classes - 1}: class 0 has no example (store labels - 1 if they count from 1)"
    names = [f"{first} to {last}" if first < last else f"{first}" for first, last in gaps]
    absent = sum(last - first + 1 for first, last in gaps)
    return f"{absent} of {classes} classes have no example: {few(names, 5)}"
