"""Derivatives of the outputs by what acts on the units at one place, for all places by the same few backward passes.

Let a place bear n units, T be its tensor with these units first, (n, rest), and X (n, n) a direction. Where T alone is
multiplied by exp(sX), a projection r of the outputs changes by d/ds = sum_ij X_ij M_ij with M = G T^T (n, n), where G
is the gradient of r by T. So one backward pass gives M for every place, and M gives the derivative along every X.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import Reference
from starcli.symmetry.proof.places import GroupPlace

MOST_UNITS = 16
"""Most units of which the whole of M is looked at: all are alike, since they may change places."""


@dataclass(frozen=True)
class PlaceDerivatives:
    """M of one place in units of the outputs' spread, by backward pass and combination of units around the group."""

    diagonal: Tensor
    """(passes, parents, n)."""
    minor: Tensor
    """M among some of the units, (passes, parents, s, s)."""
    units: Tensor
    """Which units these are, (s,)."""


def unit_view(block: Block, k: int, tensor: Tensor) -> Tensor:
    """The block of `tensor` as (parents..., n, rest...), where sub-axis k bears the n units; a view."""
    front = (*block.parents[k], k)
    return block.view(tensor).movedim(front, tuple(range(len(front))))


def place_blocks(spec: Resolved, place: GroupPlace) -> Iterator[tuple[Block, int]]:
    """Each block that the place covers, with the sub-axis that bears its group."""
    for block in spec.blocks[place.tensor]:
        for k in place.sub_axes(block):
            yield block, k


def place_derivatives(
    spec: Resolved,
    reference: Reference,
    places: Sequence[GroupPlace],
    passes: int,
    generator: torch.Generator,
    along: Mapping[str, Tensor],
    inputs: Sequence[tuple[Tensor, ...]],
    most: int = MOST_UNITS,
) -> dict[GroupPlace, PlaceDerivatives]:
    """M of every place, for `passes` random projections of the outputs of the subject as it is now on each of `inputs`.

    `along` are the tensors T, those that the subject is at or others; `most` units of a group are in minors.
    RuntimeError where the network cannot be differentiated.
    """
    subject = reference.subject
    names = list(dict.fromkeys(place.tensor for place in places))
    aliases = {name: [subject.state[each] for each in spec.names_of(name)] for name in names}
    leaves = list({id(tensor): tensor for tensors in aliases.values() for tensor in tensors}.values())
    units = {name: torch.randperm(group.size, generator=generator)[:most] for name, group in spec.groups.items()}
    found: dict[GroupPlace, list[tuple[Tensor, Tensor]]] = {place: [] for place in places}
    for leaf in leaves:
        leaf.requires_grad_(True)
    try:
        for gradients in (each for x in inputs for each in _gradients(reference, x, leaves, passes, generator)):
            for name in names:
                ids = dict.fromkeys(id(leaf) for leaf in aliases[name])
                own = [gradients[each] for each in ids if each in gradients]
                tensor = along[name].double()
                gradient = sum(own[1:], own[0]) if own else torch.zeros_like(tensor)
                for place in (place for place in places if place.tensor == name):
                    found[place].append(_contracted(spec, place, gradient, tensor, units[place.group]))
    finally:
        for leaf in leaves:
            leaf.requires_grad_(False)
    return {
        place: PlaceDerivatives(
            torch.stack([d for d, _ in each]), torch.stack([m for _, m in each]), units[place.group]
        )
        for place, each in found.items()
        if each
    }


def _gradients(
    reference: Reference, inputs: tuple[Tensor, ...], leaves: Sequence[Tensor], passes: int, generator: torch.Generator
) -> Iterator[dict[int, Tensor]]:
    """Gradients, by the id of their leaf, of random projections of the outputs in units of their spread."""
    subject = reference.subject
    outputs = [
        (output, scale)
        for output, scale in zip(subject.differentiable(inputs), reference.scale, strict=True)
        if output.requires_grad
    ]
    for _ in range(passes if outputs else 0):
        total = torch.zeros((), dtype=subject.dtype)
        for output, scale in outputs:
            weights = torch.randn(output.shape, generator=generator, dtype=output.dtype)
            total = total + (output * weights).sum() / (scale * math.sqrt(output.numel()))
        made = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        yield {id(leaf): gradient for leaf, gradient in zip(leaves, made, strict=True) if gradient is not None}


def _contracted(
    spec: Resolved, place: GroupPlace, gradient: Tensor, tensor: Tensor, units: Tensor
) -> tuple[Tensor, Tensor]:
    """The diagonal (parents, n) of M = G T^T at one place, and M (parents, s, s) among `units`."""
    n = spec.groups[place.group].size
    shape = (math.prod(spec.index_shape(place.group)[:-1]), n)
    diagonal = tensor.new_zeros(shape)
    minor = tensor.new_zeros(shape[0], len(units), len(units))
    for block, k in place_blocks(spec, place):
        g, t = (unit_view(block, k, each).reshape(*shape, -1) for each in (gradient, tensor))
        diagonal += (g * t).sum(-1)
        minor += g[:, units] @ t[:, units].transpose(-1, -2)
    return diagonal, minor


def passes_needed(spec: Resolved, places: Mapping[str, Sequence[GroupPlace]], most: int = 24) -> int:
    """Backward passes that give about twice as many equations as any group has places."""
    needed = 1
    for group, found in places.items():
        rows = math.prod(spec.index_shape(group))
        small = math.prod(spec.index_shape(group)[:-1]) * min(spec.groups[group].size, MOST_UNITS) ** 2
        needed = max(needed, math.ceil(2 * len(found) / rows), math.ceil(3 * len(found) / small))
    return min(needed, most)
