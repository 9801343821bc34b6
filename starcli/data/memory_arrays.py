"""Tensors, NumPy arrays and tables of pandas in memory, each as a tensor."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.errors import StarcliError, few


class NumPyTable(Protocol):
    """A table or column of pandas, or what else knows itself as a NumPy array."""

    def to_numpy(self) -> NDArray[Any]:
        """Its values."""


ArrayLike = Tensor | NDArray[Any] | NumPyTable
"""Numbers in memory."""


def is_array(value: Any) -> bool:
    """Whether this is a tensor, or knows itself as a NumPy array: an array, a table or column of pandas."""
    return isinstance(value, Tensor | np.ndarray) or hasattr(value, "to_numpy")


def as_tensor(value: Any, what: str) -> Tensor:
    """A tensor of what `is_array`. StarcliError, which begins with `what`, for values that are no numbers.

    >>> as_tensor(np.arange(3, dtype="uint16"), "labels")
    tensor([0, 1, 2])
    """
    if isinstance(value, Tensor):
        return readable_by_numpy(value.to_dense())
    if hasattr(value, "columns"):
        kinds = zip(value.columns, value.dtypes, strict=True)
        if words := [str(name) for name, kind in kinds if getattr(kind, "kind", "f") not in "iufb"]:
            raise StarcliError(f"{what}: columns that hold other things than numbers: {few(words, 5)}")
    array = value if isinstance(value, np.ndarray) else value.to_numpy()
    if array.dtype.kind == "O":
        array = _of_columns(value, array)
    if array.dtype.kind not in "iufb":
        way = ["numpy.unique(labels, return_inverse=True)[1] numbers classes"] if what.endswith("labels") else []
        raise StarcliError(f"{what}: an array of {array.dtype}, expected numbers", way)
    whole = array.dtype.kind == "u" and array.dtype.itemsize > 1  # torch computes little with these
    kind = np.int64 if whole else np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(array, dtype=kind))


def readable_by_numpy(tensor: Tensor) -> Tensor:
    """A tensor as it is, or as float32 where its floats are of a type that NumPy does not have (bfloat16, float8)."""
    known = not tensor.is_floating_point() or tensor.dtype in (torch.float16, torch.float32, torch.float64)
    return tensor if known else tensor.float()


def _of_columns(value: Any, objects: NDArray[np.object_]) -> NDArray[Any]:
    """The `objects` of a table or column as float64 where pandas says that all are numbers or truth values.

    It has no other type for True beside 1.5 (`get_dummies` beside a measured column). What is missing stays an object.
    """
    kinds = value.dtypes if hasattr(value, "columns") else [getattr(value, "dtype", None)]
    if any(getattr(kind, "kind", "O") not in "iufb" for kind in kinds):
        return objects
    try:
        return objects.astype(np.float64)
    except TypeError:
        return objects


def as_inputs(value: Any, what: str) -> Tensor:
    """A tensor of inputs: a table's columns are numbers, also where they are whole; other integers are tokens."""
    found = as_tensor(value, what)
    return found.float() if hasattr(value, "columns") else found
