"""Targets of examples as people store them: classes, numbers, or labels that are there or not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starcli.data.layout import class_numbers
from starcli.errors import StarcliError, number_of
from starcli.registry.tasks import CLASSES, MULTI_LABEL, REGRESSION

Targets = NDArray[Any]
"""Classes (N,), int64, or float32 (N, columns): numbers, or labels 0 and 1."""


def task_of_targets(labels: NDArray[np.generic]) -> str:
    """The task that labels are for by their form: numbers with fractions, 0 and 1 that are not one-hot, else classes.

    >>> task_of_targets(np.array([0.5, 2.0])), task_of_targets(np.array([[1, 1], [0, 0]]))
    ('regression', 'multi-label')
    >>> task_of_targets(np.array([0.0, 2.0])), task_of_targets(np.array([[1, 0], [0, 1]]))
    ('classes', 'classes')
    """
    if labels.dtype.kind == "f" and bool(np.isfinite(labels).all()) and not bool((labels == np.floor(labels)).all()):
        return REGRESSION
    if labels.dtype.kind not in "iufb" or labels.ndim != 2 or labels.shape[1] < 2 or not labels.any():
        return CLASSES
    binary = bool(((labels == 0) | (labels == 1)).all())
    return MULTI_LABEL if binary and not bool((labels.sum(axis=1) == 1).all()) else CLASSES


def read_targets(labels: NDArray[np.generic], task: str, where: str) -> Targets:
    """Labels as `task` has them. Raises StarcliError, which begins with `where`, for what is none of its targets.

    >>> read_targets(np.array([0.5, 2.0]), "regression", "y")
    array([[0.5],
           [2. ]], dtype=float32)
    """
    if task == CLASSES:
        return class_numbers(labels, where)
    if labels.dtype.kind not in "iufb" or labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise StarcliError(f"{where}: {labels.dtype} of shape {labels.shape}, expected numbers (N,) or (N, columns)")
    columns = labels.reshape(len(labels), -1)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported as such
        found: NDArray[np.float32] = np.ascontiguousarray(columns, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise StarcliError(f"{where}: {len(bad)} rows have a target that is no number, the first at position {bad[0]}")
    if task == MULTI_LABEL and not bool(((found == 0) | (found == 1)).all()):
        raise StarcliError(f"{where}: labels of --task {MULTI_LABEL} are 0 or 1, (N, labels)")
    return found


def check_targets(named: Sequence[tuple[str, Targets, int]]) -> int:
    """Number of columns, after checking the targets of (name, targets, number of examples), the training ones first.

    One StarcliError reports all faults: no examples, counts that differ, other columns than in training.
    """
    columns, problems = int(named[0][1].shape[1]), []
    for where, targets, count in named:
        if count == 0:
            problems.append(f"{where}: no examples")
        if len(targets) != count:
            problems.append(f"{where}: {number_of(len(targets), 'target')} for {number_of(count, 'example')}")
        if targets.shape[1] != columns:
            problems.append(f"{where}: {targets.shape[1]} columns to predict, {columns} in training")
    if problems:
        raise StarcliError("the targets do not fit the examples", problems)
    return columns
