"""Stacks: the weights of a model laid out so that each cost matrix of weight matching is one product.

A *chain* is what one root group brings into one block: its own sub-axis and those of the groups within it, a single
axis of prod(sizes) positions on which a single permutation acts. For every chain S all blocks that have it are stacked
as rows of one matrix (rows, |S|): a row is a position along the other axes of a block. Moving the other chains reorders
rows, so

    cost of S = A.T @ B[source]      (|S|, |S|)

where A and B are the stacks of the two models and `source` follows from the other chains' permutations.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.alignment.matching.linear_assignment import Indices
from starcli.symmetry.archspec.blocks import Block


@dataclass(frozen=True)
class Chain:
    """A root group and the groups within it that stand together in a block, parents first."""

    groups: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    """For each group the positions in `groups` of its parents, outermost first."""
    sizes: tuple[int, ...]

    @property
    def root(self) -> str:
        """Name of the root group."""
        return self.groups[0]

    @property
    def size(self) -> int:
        """Number of positions."""
        return prod(self.sizes)

    def flat(self, index: Mapping[str, Indices]) -> Indices:
        """Permutation of the chain's positions (size,): new position -> old position."""
        if len(self.groups) == 1:
            return index[self.root]
        old: Indices = np.zeros((1,) * len(self.sizes), dtype=np.int64)
        for group, at, step in zip(self.groups, self._places, self._steps, strict=True):
            old = old + index[group][at] * step
        return old.reshape(-1)

    @cached_property
    def _places(self) -> tuple[tuple[Indices, ...], ...]:
        """Index into each group's permutation: its parents' positions and its own, along the chain's axes."""
        grids = np.ogrid[tuple(slice(n) for n in self.sizes)]
        return tuple(tuple(grids[parent] for parent in (*self.parents[k], k)) for k in range(len(self.groups)))

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        """Positions from one unit of each group to the next."""
        return tuple(prod(self.sizes[k + 1 :]) for k in range(len(self.sizes)))


@dataclass(frozen=True)
class StackRows:
    """Rows start:stop of a stack: a strided view of a contiguous tensor, the chain's own sub-axes last."""

    tensor: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    start: int
    stop: int

    def extended(self, by: "StackRows") -> "StackRows | None":
        """These rows together with those below them, where the two are one view; else None."""
        joined = by.offset == self.offset + self.shape[0] * self.strides[0]
        if not joined or (self.tensor, self.strides, self.shape[1:]) != (by.tensor, by.strides, by.shape[1:]):
            return None
        return replace(self, shape=(self.shape[0] + by.shape[0], *self.shape[1:]), stop=by.stop)


@dataclass(frozen=True)
class WeightStack:
    """Rows of one chain: first those beside nothing that moves, then those of output axes, then the others."""

    chain: Chain
    pieces: tuple[StackRows, ...]
    rows: int
    fixed_rows: int
    output_rows: int
    """Rows up to here are fixed or of output axes: axis 0 of a tensor, what makes a unit rather than what it feeds."""
    base: Indices
    """(moving rows,) source row, counted from the first moving one, where all other units are those numbered 0."""
    units: Indices
    """(others, moving rows) positions in the concatenated permutation of all chains."""
    strides: Indices
    """(others, moving rows) rows from one unit of that chain to the next."""
    share: NDArray[np.float64]
    """(rows,) 1 / the number of times that the row's block is stacked for the same root group."""
    counted: tuple[tuple[int, int], ...]
    """Ranges of the rows that enter the objective through this stack: of every block the first one's."""

    def source(self, state: Indices) -> Indices:
        """Moving row of the model that belongs at each moving row, given the permutations of all chains."""
        source = self.base
        for units, strides in zip(self.units, self.strides, strict=True):
            source = source + state[units] * strides
        return source

    def rows_of(self, state: Indices) -> Indices:
        """Row of the model that belongs at each row (rows,)."""
        return np.concatenate([np.arange(self.fixed_rows), self.source(state) + self.fixed_rows])

    def fill(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Stack (rows, chain size) of a model, float32, where its tensors are."""
        device = tensors[self.pieces[0].tensor].device
        stacked = torch.empty(self.rows, self.chain.size, dtype=torch.float32, device=device)
        for part, values in self.parts(stacked, tensors):
            part.copy_(values)
        return stacked

    def parts(self, stacked: Tensor, tensors: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Views of a stack, and what of the model's tensors belongs in each: views too, of contiguous tensors."""
        for piece in self.pieces:
            plain = tensors[piece.tensor].detach().contiguous()
            # a view of a flat vector does not begin where its memory does
            values = plain.as_strided(piece.shape, piece.strides, plain.storage_offset() + piece.offset)
            yield stacked[piece.start : piece.stop].view(piece.shape), values


@dataclass(frozen=True)
class ChainPlace:
    """A chain in a block, the positions of its sub-axes there, and whether these are of the output axis."""

    chain: Chain
    axes: tuple[int, ...]
    output: bool


@dataclass(frozen=True)
class Stacked:
    """A block as seen by the `focus`-th of its places."""

    block: Block
    places: tuple[ChainPlace, ...]
    focus: int

    @property
    def others(self) -> tuple[ChainPlace, ...]:
        """All places but the one in focus."""
        return self.places[: self.focus] + self.places[self.focus + 1 :]

    @property
    def kind(self) -> int:
        """Order within a stack: 0 where nothing else moves, 1 on output axes, 2 on the others."""
        return 0 if len(self.places) == 1 else 1 if self.places[self.focus].output else 2


def places_of(block: Block, rank: Mapping[str, int]) -> tuple[ChainPlace, ...]:
    """Chains of a block, in the order of their roots' sub-axes."""
    places = []
    for root, name in enumerate(block.groups):
        if name is None or block.parents[root]:
            continue
        inner = [k for k, parents in enumerate(block.parents) if parents and parents[0] == root]
        axes = (root, *sorted(inner, key=lambda k: (rank[str(block.groups[k])], k)))
        chain = Chain(
            groups=tuple(str(block.groups[k]) for k in axes),
            parents=tuple(tuple(axes.index(parent) for parent in block.parents[k]) for k in axes),
            sizes=tuple(block.shape[k] for k in axes),
        )
        places.append(ChainPlace(chain, axes, output=block.axes[root] == 0))
    return tuple(places)


def weight_stack(
    chain: Chain, stacked: list[Stacked], offsets: Mapping[Chain, int], shapes: Mapping[str, tuple[int, ...]]
) -> WeightStack:
    """Stack of all blocks that have `chain`, one below the other."""
    stacked = sorted(stacked, key=lambda each: each.kind)
    width = max(len(each.others) for each in stacked)
    pieces: list[StackRows] = []
    counted: list[tuple[int, int]] = []
    tables, shares, start = [], [], 0
    counts = {0: 0, 1: 0, 2: 0}
    for each in stacked:
        piece = _piece(each, start, shapes[each.block.tensor])
        start = piece.stop
        counts[each.kind] += piece.stop - piece.start
        joined = pieces[-1].extended(piece) if pieces else None
        pieces[-1:] = [joined] if joined else [*pieces[-1:], piece]
        if each.focus == 0:
            follows = bool(counted) and counted[-1][1] == piece.start
            counted[-1:] = [(counted[-1][0], piece.stop)] if follows else [*counted[-1:], (piece.start, piece.stop)]
        times = Counter(place.chain.root for place in each.places)[chain.root]
        shares.append(np.full(piece.stop - piece.start, 1 / times))
        if each.kind:
            tables.append(_rows(each, piece, width, offsets))
    base, units, strides = (np.concatenate(parts, axis=-1) for parts in zip(*tables, strict=True)) if tables else _NONE
    return WeightStack(
        chain=chain,
        pieces=tuple(pieces),
        rows=start,
        fixed_rows=counts[0],
        output_rows=counts[0] + counts[1],
        base=base - counts[0],
        units=units,
        strides=strides,
        share=np.concatenate(shares),
        counted=tuple(counted),
    )


_NONE = (np.zeros(0, np.int64), np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64))


def _piece(each: Stacked, start: int, shape: tuple[int, ...]) -> StackRows:
    """Rows of one block in a stack, from row `start` on."""
    block, own = each.block, each.places[each.focus].axes
    moving = [axis for place in each.others for axis in place.axes]
    still = [k for k in range(len(block.shape)) if k not in own and k not in moving]
    order = (*moving, *still, *own)
    steps = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return StackRows(
        tensor=block.tensor,
        shape=tuple(block.shape[k] for k in order),
        strides=tuple(block.steps[k] * steps[block.axes[k]] for k in order),
        offset=sum(start * step for start, step in zip(block.starts, steps, strict=True)),
        start=start,
        stop=start + prod(block.shape) // each.places[each.focus].chain.size,
    )


def _rows(
    each: Stacked, piece: StackRows, width: int, offsets: Mapping[Chain, int]
) -> tuple[Indices, Indices, Indices]:
    """`base` (rows,), `units` and `strides` (width, rows) of one piece; see `WeightStack`.

    Places that a block does not have get stride 0.
    """
    sizes = [place.chain.size for place in each.others]
    rows = piece.stop - piece.start
    still = rows // prod(sizes)
    at = np.unravel_index(np.arange(rows), (*sizes, still))
    units = np.zeros((width, rows), dtype=np.int64)
    strides = np.zeros((width, rows), dtype=np.int64)
    for k, place in enumerate(each.others):
        units[k] = offsets[place.chain] + at[k]
        strides[k] = prod(sizes[k + 1 :]) * still
    return piece.start + at[-1], units, strides
