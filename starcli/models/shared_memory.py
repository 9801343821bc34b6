"""Tensors of a network that share memory: tied parameters, views, and what a load writes there."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from starcli.errors import few
from starcli.runtime.device import float64


class SharedWrites(TorchFunctionMode):
    """Record of what a load writes into memory that several names of a network share, and where two writes differ."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state, self.groups = state, sharing(state)
        self.written: dict[int, Tensor] = {}
        for name in chain.from_iterable(self.groups):
            storage, tensor = state[name].untyped_storage(), state[name]
            size = storage.nbytes() // tensor.element_size()
            self.written[storage.data_ptr()] = torch.zeros(size, dtype=torch.bool, device=tensor.device)
        self.differences: dict[str, float] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; of a copy into shared memory, see whether it changes what was written before."""
        target = args[0] if getattr(func, "__name__", "") == "copy_" else None
        written = None if target is None else self._written(target)
        if target is None or written is None:
            return func(*args, **(kwargs or {}))
        before = target.detach()[written]
        found = func(*args, **(kwargs or {}))
        after = target.detach()[written]
        groups = [group for group in self.groups if any(_overlap(target, self.state[name]) for name in group)]
        if groups and not torch.equal(before, after):
            names = few(groups[0], 3)
            largest = float((float64(after) - float64(before)).abs().max())
            self.differences[names] = max(largest, self.differences.get(names, 0.0))
        written.fill_(True)
        return found

    def _written(self, tensor: Tensor) -> Tensor | None:
        """Which elements of a tensor were written, as a view; None where its memory is of no interest."""
        mask = self.written.get(tensor.untyped_storage().data_ptr())
        return None if mask is None else mask.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def covers(self, name: str) -> bool:
        """Whether all of a tensor was written, be it under other names."""
        written = self._written(self.state[name]) if name in self.state else None
        return written is not None and bool(written.all())

    def conflicts(self) -> list[str]:
        """A line for each set of names that share memory and were given differing values."""
        return [f"{names} are tied, but differ by up to {size:.3g}" for names, size in self.differences.items()]


def sharing(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Sets of names whose tensors overlap in memory; an outline, which has none, shares none."""
    solid = {name: tensor for name, tensor in state.items() if tensor.numel() and not tensor.is_meta}
    groups: list[list[str]] = []
    for name in sorted(solid, key=lambda name: _extent(solid[name])):
        if groups and any(_overlap(solid[name], solid[other]) for other in groups[-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    places = {name: place for place, name in enumerate(state)}
    return [sorted(group, key=places.__getitem__) for group in groups if len(group) > 1]


def _extent(tensor: Tensor) -> tuple[int, int, int]:
    """Storage of a tensor, and its first and last element there."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = int(tensor.storage_offset())
    return tensor.untyped_storage().data_ptr(), first, first + int(last)


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors lie, in part, in the same stretch of memory."""
    (storage, first, last), (other_storage, other_first, other_last) = _extent(one), _extent(other)
    return storage == other_storage and first <= other_last and other_first <= last


def place_of(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies; two of one place are one tensor."""
    return (*_extent(tensor), tuple(tensor.shape), tensor.stride(), tensor.dtype)
