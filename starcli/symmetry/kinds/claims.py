"""Which kinds the derivatives at the places of one group suggest: null spaces of sums over places.

Let M be the matrix of a place (see `derivatives`). A family in which place o is multiplied by exp(s (a_o X - b_o X^T))
leaves the outputs alone to first order where sum_o a_o <X, M_o> - b_o <X^T, M_o> = 0, for all X of the kind:
diagonal ones (scales), skew ones (rotations, a = 1), all (invertible matrices, (a, b) = (1, 0) or (0, 1)).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import natural_key
from starcli.symmetry.kinds.derivatives import PlaceDerivatives
from starcli.symmetry.kinds.group_kind import Exponents
from starcli.symmetry.kinds.null_space import NOT_ZERO, ZERO, null_space, sparse_integers
from starcli.symmetry.proof.places import GroupPlace

Derivatives = Mapping[GroupPlace, PlaceDerivatives]


def inert_places(found: Derivatives, nothing: float = ZERO) -> set[GroupPlace]:
    """Places at which nothing that acts has any effect (a key's bias under softmax), or none that could be measured."""
    sizes = {place: float(torch.linalg.vector_norm(each.diagonal)) for place, each in found.items()}
    largest = max(sizes.values(), default=0.0)
    return {place for place, size in sizes.items() if not size > nothing * largest}


def scalings(
    found: Derivatives,
    at: Collection[GroupPlace],
    zero: float = ZERO,
    not_zero: float = NOT_ZERO,
    integer: float = 1e-5,
    known: Sequence[Exponents] = (),
) -> list[dict[GroupPlace, int]]:
    """Independent families of scales, diag(a)^e at each place of `at`, by their exponents e; those not 0 alone.

    Families are sparse, and positive at their first writer (see `in_order`); those `known` are not among them.
    """
    places = in_order(at)
    if not places:
        return []
    basis = null_space(torch.stack([found[place].diagonal.flatten() for place in places], dim=1), zero, not_zero)
    if basis is None:
        return []
    before = [tuple(each.get(place, 0) for place in places) for each in known if each.keys() <= set(places)]
    families = sparse_integers(basis, integer, before)
    return [{place: e for place, e in zip(places, family, strict=True) if e} for family in families]


def invertible_exponents(found: Derivatives, at: Collection[GroupPlace]) -> dict[GroupPlace, int]:
    """For each place 1 where g acts, -1 where its inverse transpose does; nothing where GL(n) does not act.

    With X also -X^T is a direction, so that (a, b) and (b, a) span the null space where there is one way to act.
    """
    places = in_order(at)
    if not places or found[places[0]].minor.shape[-1] < 2:
        return {}
    minors = [found[place].minor for place in places]
    columns = [each.flatten() for each in minors] + [-each.transpose(-1, -2).flatten() for each in minors]
    basis = null_space(torch.stack(columns, dim=1))
    if basis is None or len(basis) != 2:
        return {}
    m = len(places)
    ends = basis[:, [0, m]]  # (1, 0) at the first place
    if float(torch.linalg.cond(ends)) > 1e6:
        return {}
    ways = torch.linalg.solve(ends.T, torch.tensor([1.0, 0.0], dtype=basis.dtype)) @ basis
    acts, inverse = ways[:m], ways[m:]
    whole = torch.round(acts - inverse)
    exact = torch.allclose(acts, (whole > 0).double(), atol=1e-5) and torch.allclose(
        inverse, (whole < 0).double(), atol=1e-5
    )
    return {place: int(e) for place, e in zip(places, whole, strict=True)} if exact and bool(whole.all()) else {}


def rotates(found: Derivatives, conjugated: Mapping[GroupPlace, Tensor], *, fix_ones: bool) -> bool:
    """Whether rotations at all these places together leave the outputs alone to first order.

    At each place D X D^-1 acts, where `conjugated` is the diagonal (parents..., n) of D. `fix_ones`: for those X alone
    that have X (1, ..., 1) = 0, as a LayerNorm asks: C X C for skew X and C = I - 1 1^T / n.
    """
    turned = []
    for place, scale in conjugated.items():
        each = found[place]
        d = scale.reshape(-1, scale.shape[-1])[:, each.units]
        turned.append(_skew(d.unsqueeze(-1) * each.minor / d.unsqueeze(-2), fix_ones))
    if not turned or turned[0].shape[-1] < 2 + fix_ones:
        return False
    largest = max(float(torch.linalg.vector_norm(each)) for each in turned)
    total = torch.stack(turned).sum(dim=0)
    return largest > 0 and float(torch.linalg.vector_norm(total)) <= 10 * ZERO * largest


def independent(
    ways: Collection[frozenset[GroupPlace]], known: Collection[frozenset[GroupPlace]]
) -> list[list[GroupPlace]]:
    """Sets of places of which none is the symmetric difference of others or known ones, small first, each in order.

    Signs at two sets of places, one after the other, are signs at their symmetric difference.
    """
    chosen: list[list[GroupPlace]] = []
    reduced: list[tuple[GroupPlace, frozenset[GroupPlace]]] = []
    for number, way in enumerate([*known, *sorted(ways, key=len)]):
        left = way
        for pivot, row in reduced:
            left = left ^ row if pivot in left else left
        if left:
            reduced.append((in_order(left)[0], left))
            chosen += [in_order(way)] if number >= len(known) else []
    return chosen


def effect(found: PlaceDerivatives, *, skew: bool) -> float:
    """Root mean square change of a projection of the outputs, by a random unit change of every unit at the place."""
    if not skew:
        return float(found.diagonal.flatten(1).norm(dim=1).max())
    n, s = found.diagonal.shape[-1], found.minor.shape[-1]
    return n / s * float(_skew(found.minor, fix_ones=False).flatten(1).norm(dim=1).max()) / math.sqrt(2)


def _skew(minor: Tensor, fix_ones: bool) -> Tensor:
    turned = minor - minor.transpose(-1, -2)
    if not fix_ones:
        return turned
    s = minor.shape[-1]
    centre = torch.eye(s, dtype=minor.dtype) - 1 / s
    return centre @ turned @ centre


def in_order(at: Iterable[GroupPlace]) -> list[GroupPlace]:
    """Places with those first at which units are written: tensors of one axis, then by axis."""
    return sorted(at, key=lambda place: (place.own_axis, place.start, natural_key(place.tensor)))


def with_inert(exponents: Exponents, inert: Collection[GroupPlace]) -> dict[GroupPlace, int]:
    """The exponents, and those of inert places: that of another tensor of the same module, at the same positions."""

    def module(place: GroupPlace) -> tuple[str, int]:
        return place.tensor.rpartition(".")[0], place.start

    beside = {module(place): e for place, e in exponents.items() if place.own_axis == 0}
    return {**exponents, **{place: beside[module(place)] for place in inert if module(place) in beside}}
