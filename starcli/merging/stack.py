"""One tensor of several models, read chunk by chunk: a merge never holds more than a chunk of each in float32."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

CHUNK_NUMBERS = 2**21
"""Numbers of a tensor that are read of each model at a time: 8 MiB in float32, which caches still hold in part."""

ReadPart = Callable[[int, int], Tensor]
"""A tensor of one model: reads the numbers from one place to another, as one axis, in the type of the file."""


@dataclass(frozen=True)
class Stack:
    """The tensor `name` of n sources, and of the base where there is one, of this shape; all are read as one axis.

    dtype: what is computed in: float32, or float64 where a model has it. Rows are sources, in their order.
    """

    name: str
    shape: tuple[int, ...]
    sources: Sequence[ReadPart]
    base: ReadPart | None = None
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, name: str, sources: Sequence[Tensor], base: Tensor | None = None) -> "Stack":
        """The stack of tensors in memory, all of one shape.

        >>> stack = Stack.of("w", [torch.zeros(2, 3), torch.ones(2, 3)])
        >>> [values.shape for values in stack.chunks()]
        [torch.Size([2, 6])]
        """
        own = None if base is None else _slices(base)
        types = [tensor.dtype for tensor in (*sources, *([] if base is None else [base]))]
        return cls(name, tuple(sources[0].shape), [*map(_slices, sources)], own, computing_type(types))

    def chunks(self) -> Iterator[Tensor]:
        """The sources' numbers, chunk by chunk: (sources, numbers)."""
        for begin, end in self._places():
            yield torch.stack([self._read(part, begin, end) for part in self.sources])

    @property
    def row(self) -> int:
        """Numbers of a row: of all that one place of the first axis has; a vector is one row."""
        return prod(self.shape[1:] if len(self.shape) > 1 else self.shape)

    def deltas(self, *, whole: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Each source minus the base, (sources, numbers), and the base, (numbers,), chunk by chunk.

        whole: so many numbers on end stay in one chunk, such as those of a row.
        """
        assert self.base is not None
        for begin, end in self._places(whole):
            base = self._read(self.base, begin, end)
            yield torch.stack([self._read(part, begin, end) for part in self.sources]).sub_(base), base

    def changes(self) -> Iterator[Tensor]:
        """Each source minus the base, chunk by chunk: (sources, numbers)."""
        return (deltas for deltas, _ in self.deltas())

    def _places(self, whole: int = 1) -> Iterator[tuple[int, int]]:
        count, step = prod(self.shape), max(1, CHUNK_NUMBERS // max(1, whole)) * max(1, whole)
        return pairwise([*range(0, count, step), count])

    def _read(self, part: ReadPart, begin: int, end: int) -> Tensor:
        return part(begin, end).to(self.dtype)


def computing_type(types: Sequence[torch.dtype]) -> torch.dtype:
    """The type that tensors of these types are merged in: float32, or float64 where there is one."""
    return torch.float64 if torch.float64 in types else torch.float32


def gram(chunks: Iterator[Tensor]) -> Tensor:
    """Inner products of the rows of chunks (rows, numbers), in float64: (rows, rows)."""
    products = []
    for chunk in chunks:
        wide = chunk.double()  # float32 sums of so many products are off by some hundred roundings
        products.append(wide @ wide.T)
    return torch.stack(products).sum(0)


def _slices(tensor: Tensor) -> ReadPart:
    flat = tensor.reshape(-1)
    return lambda begin, end: flat[begin:end]
