"""Matrices in the place of permutations: a doubly stochastic one for each group, applied to every axis of a spec.

A group within others has one matrix for every pair of units around it, new and old: what a new head's units take from
an old head's. With matrices of zeros and ones this is `Permutation.apply`.
"""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from starcli.alignment.matching.stacks import Chain, ChainPlace, places_of
from starcli.symmetry.archspec.blocks import Block, spread_axes
from starcli.symmetry.archspec.resolved import Resolved


class SoftApplication:
    """How matrices act on the learnable parameters of a spec.

    matrices: by group (new parents..., old parents..., new units, old units).
    """

    def __init__(self, spec: Resolved, device: torch.device) -> None:
        """Find the places at which every group stands; matrices and tensors will be on `device`."""
        self.spec = spec
        rank = {name: i for i, name in enumerate(spec.groups)}
        self._places: dict[str, list[tuple[Block, tuple[ChainPlace, ...]]]] = {}
        self._order: dict[str, Tensor] = {}
        for name in spec.learnable():
            blocks = spec.blocks.get(name, ())
            if blocks:
                entries = torch.arange(prod(spec.shapes[name])).view(spec.shapes[name])
                self._places[name] = [(block, places_of(block, rank)) for block in blocks]
                self._order[name] = torch.cat([block.view(entries).flatten() for block in blocks]).argsort().to(device)

    def apply(self, tensors: Mapping[str, Tensor], matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The learnable parameters among `tensors`, each axis multiplied by the matrices of its groups."""
        chains: dict[Chain, Tensor] = {}
        return {name: self._applied(name, tensors[name], matrices, chains) for name in self.spec.learnable()}

    def _applied(
        self, name: str, tensor: Tensor, matrices: Mapping[str, Tensor], chains: dict[Chain, Tensor]
    ) -> Tensor:
        """One tensor; `chains` keeps the matrices of those that were met before."""
        if name not in self._places:
            return tensor
        parts = []
        for block, places in self._places[name]:
            part = block.view(tensor)
            for place in places:
                if place.chain not in chains:
                    chains[place.chain] = chain_matrix(place.chain, matrices)
                part = _along(part, place.axes, chains[place.chain])
            parts.append(part.flatten())
        return torch.cat(parts)[self._order[name]].view(tensor.shape)


def chain_matrix(chain: Chain, matrices: Mapping[str, Tensor]) -> Tensor:
    """Matrix (size, size) of a chain: the product of those of its groups, each for the units around it."""
    count = len(chain.groups)
    found = torch.ones((), device=matrices[chain.root].device)
    for k, (group, parents) in enumerate(zip(chain.groups, chain.parents, strict=True)):
        axes = (*parents, *(parent + count for parent in parents), k, k + count)
        found = found * spread_axes(matrices[group], axes, 2 * count)
    return found.reshape(chain.size, chain.size)


def _along(part: Tensor, axes: tuple[int, ...], matrix: Tensor) -> Tensor:
    """`matrix` times `part`, over `axes` of it taken together."""
    order = (*axes, *(axis for axis in range(part.dim()) if axis not in axes))
    moved = part.permute(order)
    product = (matrix @ moved.reshape(len(matrix), -1)).view(moved.shape)
    return product.permute([order.index(axis) for axis in range(part.dim())])
