"""Derivatives of the outputs by what acts on the units at one place, for all places by the same few backward passes.

Let a place bear n units, T be its tensor with these units first, (n, rest), and X (n, n) a direction. Where T alone is
multiplied by exp(sX), a projection r of the outputs changes by d/ds = sum_ij X_ij M_ij with M = G T^T (n, n), where G
is the gradient of r by T. So one backward pass gives M for every place, and M gives the derivative along every X.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import Reference
from starcli.symmetry.proof.places import GroupPlace

MOST_UNITS = 16
"""Most units of which the whole of M is looked at: all are alike, since they may change places."""
FEW_NUMBERS = 4096
"""Most numbers in a tensor of which the gradients of all passes are kept, to be looked at together."""
MOST_PASSES = 24
"""Most backward passes for a group."""


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
    """The block of `tensor` as (parents..., n, rest...), where sub-axis k bears the n units; a view.

    Of stacked tensors with the further axes in front.
    """
    view, front = block.view(tensor), (*block.parents[k], k)
    first = view.dim() - len(block.shape)
    to = range(first, first + len(front))
    return view.movedim([first + each for each in front], list(to)) if front != tuple(range(len(front))) else view


def place_blocks(spec: Resolved, place: GroupPlace) -> tuple[tuple[Block, int], ...]:
    """Each block that the place covers, with the sub-axis that bears its group."""
    return spec.blocks_at[place.tensor, place.axis, place.start, place.group]


def unit_views(spec: Resolved, place: GroupPlace, tensor: Tensor) -> list[Tensor]:
    """The `unit_view` of each block that the place covers."""
    return [unit_view(block, k, tensor) for block, k in place_blocks(spec, place)]


def place_derivatives(
    spec: Resolved,
    reference: Reference,
    places: Sequence[GroupPlace],
    passes: Mapping[str, int],
    generator: torch.Generator,
    inputs: Sequence[tuple[Tensor, ...]],
    most: int = MOST_UNITS,
) -> dict[GroupPlace, PlaceDerivatives]:
    """M of every place for the tensors T of the subject as it is now, on each of `inputs`.

    `passes`: random projections of the outputs for each group; `most`: units of a group in minors. Nothing where the
    network cannot be differentiated.
    """
    state = reference.subject.state
    units = {name: torch.randperm(group.size, generator=generator)[:most] for name, group in spec.groups.items()}
    found: dict[GroupPlace, list[tuple[Tensor, Tensor]]] = {place: [] for place in places}
    at = by_tensor(places)

    def contract(name: str, gradient: Tensor, own: Iterable[GroupPlace]) -> None:
        """Add M of some places of a tensor, by a gradient or by those of several passes in a row."""
        tensor = state[name].detach()
        product = gradient * tensor
        for place in own:
            count = passes[place.group] if gradient.dim() > tensor.dim() else len(gradient)
            parts = (gradient[:count], tensor, product[:count])
            found[place].append(_contracted(spec, place, *parts, units[place.group]))

    try:
        for x in inputs:
            kept: dict[str, list[Tensor]] = {}
            for number, (_, gradients) in enumerate(gradients_at(spec, reference, places, passes, generator, x)):
                for name, gradient in gradients.items():
                    if gradient.numel() <= FEW_NUMBERS:
                        kept.setdefault(name, []).append(gradient)
                    else:
                        contract(name, gradient, (place for place in at[name] if passes[place.group] > number))
            for name, each in kept.items():
                contract(name, torch.stack(each), at[name])
    except (RuntimeError, StarcliError):
        return {}
    return {
        place: PlaceDerivatives(torch.cat([d for d, _ in each]), torch.cat([m for _, m in each]), units[place.group])
        for place, each in found.items()
        if each
    }


def by_tensor(places: Collection[GroupPlace]) -> dict[str, list[GroupPlace]]:
    """Places by the tensor that they are of."""
    found: dict[str, list[GroupPlace]] = {}
    for place in places:
        found.setdefault(place.tensor, []).append(place)
    return found


def gradients_at(
    spec: Resolved,
    reference: Reference,
    places: Collection[GroupPlace],
    passes: Mapping[str, int],
    generator: torch.Generator,
    inputs: tuple[Tensor, ...],
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """Random projections of the outputs of the subject, in units of spread, and gradients by the tensors of `places`.

    Those of one tensor in as many backward passes as its groups need. RuntimeError where the network cannot be
    differentiated.
    """
    subject, needed = reference.subject, dict[str, int]()
    for place in places:
        needed[place.tensor] = max(needed.get(place.tensor, 0), passes[place.group])
    aliases = {name: [subject.state[each] for each in spec.names_of(name)] for name in needed}
    leaves = {id(leaf): leaf for own in aliases.values() for leaf in own}
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    try:
        for number, total in enumerate(reference.projections(inputs, max(needed.values(), default=0), generator)):
            wanted = {id(leaf): leaf for name, own in aliases.items() if needed[name] > number for leaf in own}
            made = torch.autograd.grad(total, list(wanted.values()), retain_graph=True, allow_unused=True)
            gradients = dict(zip(wanted, made, strict=True))
            by_name = {name: _added(own, gradients) for name, own in aliases.items() if needed[name] > number}
            yield float(total.detach()), by_name
    finally:
        for leaf in leaves.values():
            leaf.requires_grad_(False)


def _added(aliases: Sequence[Tensor], gradients: Mapping[int, Tensor | None]) -> Tensor:
    """The gradient by a tensor that may be there more than once; zero where nothing depends on it."""
    found = [gradient for key in dict.fromkeys(map(id, aliases)) if (gradient := gradients[key]) is not None]
    return sum(found[1:], found[0]) if found else torch.zeros_like(aliases[0])


def _contracted(
    spec: Resolved, place: GroupPlace, gradients: Tensor, tensor: Tensor, product: Tensor, units: Tensor
) -> tuple[Tensor, Tensor]:
    """The diagonals (passes, parents, n) of M = G T^T at one place, and M (passes, parents, s, s) among `units`.

    For a gradient G and its product with T, or for those of several passes, stacked.
    """
    *parents, n = spec.index_shape(place.group)
    front = gradients.dim() - tensor.dim() + len(parents)
    shape = (math.prod(parents), len(units), -1)
    diagonals, minors = [], []
    for block, k in place_blocks(spec, place):
        view = unit_view(block, k, product)
        rest = tuple(range(front + 1, view.dim()))
        diagonals.append(view.sum(rest) if rest else view)
        g = unit_view(block, k, gradients).index_select(front, units)
        t = unit_view(block, k, tensor).index_select(len(parents), units)
        t = t.reshape(shape)
        minors.append(g.reshape(-1, *t.shape) @ t.transpose(-1, -2))
    return sum(diagonals[1:], diagonals[0]).reshape(-1, shape[0], n), sum(minors[1:], minors[0])


def unit_slopes(spec: Resolved, place: GroupPlace, gradient: Tensor, tensor: Tensor, units: Tensor) -> Tensor:
    """The diagonal of M = G T^T at some units of a place, (parents, units)."""
    parents = len(spec.index_shape(place.group)) - 1
    found = []
    for views in zip(*(unit_views(spec, place, each) for each in (gradient, tensor)), strict=True):
        g, t = (view.index_select(parents, units) for view in views)
        found.append((g * t.double()).flatten(parents + 1).sum(-1) if g.dim() > parents + 1 else g * t.double())
    return torch.stack(found).sum(0).reshape(-1, len(units))


def passes_needed(spec: Resolved, places: Mapping[str, Sequence[GroupPlace]]) -> dict[str, int]:
    """Backward passes for each group: those that give it about four times as many equations as it has places.

    But no more than what gives every group twice as many.
    """
    needed = {}
    for group, found in places.items():
        rows = math.prod(spec.index_shape(group))
        small = math.prod(spec.index_shape(group)[:-1]) * min(spec.groups[group].size, MOST_UNITS) ** 2
        needed[group] = max(1, math.ceil(2 * len(found) / rows), math.ceil(3 * len(found) / small))
    most = min(MOST_PASSES, max(needed.values(), default=1))
    return {group: min(2 * passes, most) for group, passes in needed.items()}
