"""Tracing of networks that choose, by the values of their inputs, which examples a module is given.

A mixture of experts often gives each expert just the tokens that chose it: `x[mask]`, `torch.where(mask)`,
`y.index_add_(0, rows, ...)`, and nothing where no token did. The number of such rows is known for no input but one, so
that no graph can be written. What units do does not depend on it: here every mask names all its positions, and every
module is called. What is derived so is proved on the network as it is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.overrides import TorchFunctionMode

_NONE = {"eq", "__eq__", "lt", "__lt__", "le", "__le__", "logical_not", "__invert__", "bitwise_not"}
"""Operators by which a network asks whether there is nothing."""


class EveryRow(TorchFunctionMode):
    """Mode in which masks name all their positions, and nothing that is counted is zero."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[int, tuple[Tensor, bool]] = {}
        self._read: dict[int, tuple[Tensor, Tensor, tuple[Any, ...]]] = {}
        self._added: dict[int, tuple[Tensor, Tensor, tuple[Any, ...], Any]] = {}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "__bool__":
            return self._is_true(args[0])
        if name in ("nonzero", "argwhere") or (name == "where" and len(args) == 1 and not kwargs):
            found = _all_positions(args[0])
            return found if name == "where" or kwargs.get("as_tuple", args[1:2] == (True,)) else torch.stack(found, -1)
        if name == "__getitem__" and any(isinstance(part, Tensor) for part in _parts(args[1])):
            index = _by_positions(args[1])
            read: Tensor = func(args[0], index)
            self._read[id(read)] = read, args[0], index
            return read
        if name == "add_" and id(args[0]) in self._read:
            _, base, index = self._read[id(args[0])]
            total: Tensor = args[0] + args[1]
            self._added[id(total)] = total, base, index, args[1]
            return total
        if name == "__setitem__":
            return self._written(*args)
        result = func(*args, **kwargs)
        of_rows = args and isinstance(args[0], Tensor) and not args[0].is_floating_point()
        if of_rows and isinstance(result, Tensor) and result.dim() == 0:
            self._answers[id(result)] = result, name not in _NONE
        return result

    def _written(self, base: Tensor, index: Any, values: Any) -> Any:
        """Write into a part of a tensor; what was read from there and added to, as `y[rows] += x` does, is added."""
        added = self._added.get(id(values))
        if added is not None and added[1] is base:
            return base.index_put_(added[2], added[3], accumulate=True)
        return Tensor.__setitem__(base, _by_positions(index), values)

    def _is_true(self, tensor: Tensor) -> bool:
        """Whether a tensor is true: as it is where that is known, else what leads to some rows rather than none.

        What is asked of numbers that are no counts stays an error.
        """
        known = tensor.constant if isinstance(tensor, FakeTensor) else tensor
        answer = self._answers.get(id(tensor))
        return bool(tensor) if answer is None or known is not None else answer[1]


def _is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool and value.dim() > 0


def _parts(index: Any) -> tuple[Any, ...]:
    """What an index is made of, for each axis."""
    return index if isinstance(index, tuple) else (index,)


def _by_positions(index: Any) -> tuple[Any, ...]:
    """An index with all positions in the place of each mask."""
    return tuple(each for part in _parts(index) for each in (_all_positions(part) if _is_mask(part) else (part,)))


def _all_positions(mask: Tensor) -> tuple[Tensor, ...]:
    """The positions of a tensor along each axis, one behind the other, which depend on it as its true ones would."""
    grids = torch.meshgrid(*(torch.arange(n) for n in mask.shape), indexing="ij")
    nothing = mask.reshape(-1).to(torch.int64) * 0
    return tuple(grid.reshape(-1) + nothing for grid in grids)
