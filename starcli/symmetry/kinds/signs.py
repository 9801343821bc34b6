"""Signs: the kind without a continuous part, suggested by scales of -1, and proved by flips."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from starcli.symmetry.kinds import claims
from starcli.symmetry.kinds.derivatives import PlaceDerivatives
from starcli.symmetry.kinds.elements import Acts, diagonal_acts, random_signs
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import Exponents, GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.unit_screen import Claim, slopes_at_zero, spread_units
from starcli.symmetry.proof.controls import THRESHOLD
from starcli.symmetry.proof.places import GroupPlace
from starcli.symmetry.proof.redraw import is_scale

SignSets = dict[str, list[frozenset[GroupPlace]]]
"""By group, sets of places at each of which signs act together."""

NEAR_ZERO = 1e-7
"""Factor of weights near zero, where an odd function of units is linear."""
SUGGESTED = ((1e-10, 1e-10, 0.05), (1e-6, 1e-6, 0.05))
"""What counts there as zero, as not zero, and as an integer: first where what is left out is of the order
NEAR_ZERO^2, as for tanh, then of NEAR_ZERO (softsign). Signs are only suggested, and then proved."""

MOST_PAIRS = 8
"""Most pairs of a layer and a scale in a group that are tried."""
FEW_TRIALS = 3
"""Places that are as soon tried one by one as all of them looked at by derivatives once more."""


def signed_kinds(proof: KindProof, before: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """Groups of `before` on which signs act; none of units that are all off at the generic weights: nothing is seen."""
    setting = proof.setting
    before = {name: kind for name, kind in before.items() if setting.active(name, buffers=True)}
    generic = {
        name: claims.scalings(
            found, setting.flippable(setting.active(name, buffers=True)), known=setting.scalings(name)
        )
        for name, found in setting.found.items()
        if name in before
    }
    setting.near_zero_scalings = _linear(setting, [name for name, kind in before.items() if kind.kind == "permutation"])
    tried = {name: kind.scalings or [_everywhere(setting, name)] for name, kind in before.items()}
    signs: SignSets = {}
    _prove(proof, _odd_places(generic), signs)
    less_likely = (
        _odd_places(setting.near_zero_scalings),
        _odd_places(tried),  # u(x) * v(x), x^2, x - tanh x
        {name: _overlapping(odd) for name, odd in _odd_places(tried).items()},  # relu(u(x)) * v(x)
        {name: _written(ways) for name, ways in tried.items()},  # |x|, cos x
        {name: _beside_scales(setting, kind, signs.get(name, ())) for name, kind in before.items()},  # an RMSNorm
    )
    possible = _possible(proof, less_likely, signs)
    for suggested in less_likely:
        left = {name: [way for way in sets if (name, way) in possible] for name, sets in suggested.items()}
        _prove(proof, left, signs)
    return {name: _with_signs(before[name], found) for name, found in signs.items()}


def _prove(proof: KindProof, suggested: SignSets, signs: SignSets) -> None:
    """Add those of the suggested signs to `signs` that hold and do not follow from it."""
    elements = _elements(proof.setting, suggested, signs)
    for claim in proof.holding(elements, partial(even_places, proof.setting)):
        signs.setdefault(claim[0], []).append(frozenset(elements[claim]))


def _possible(
    proof: KindProof, suggested: Sequence[SignSets], known: SignSets
) -> set[tuple[str, frozenset[GroupPlace]]]:
    """Those of the suggested signs, by group, that few passes do not refute, all tried together."""
    elements: dict[Claim, Acts] = {}
    for each in suggested:
        for (name, _), acts in _elements(proof.setting, each, known).items():
            elements[name, len(elements)] = acts
    return {(name, frozenset(acts)) for (name, _), acts in proof.possible(elements).items()}


def _elements(setting: GenericSetting, suggested: SignSets, known: SignSets) -> dict[Claim, Acts]:
    """A random element for each of the suggested signs that does not follow from others and known ones."""
    ways = [(name, way) for name, sets in suggested.items() for way in claims.independent(sets, known.get(name, []))]
    return {
        (name, number): diagonal_acts(random_signs(setting.shape(name), setting.generator), dict.fromkeys(way, 1))
        for number, (name, way) in enumerate(ways)
    }


def _odd_places(ways: Mapping[str, Sequence[Exponents]]) -> dict[str, list[frozenset[GroupPlace]]]:
    """By group the places at which a scale of -1 would act, for each way to scale."""
    return {name: [frozenset(p for p, e in way.items() if e % 2) for way in each] for name, each in ways.items()}


def _overlapping(sets: Sequence[frozenset[GroupPlace]]) -> list[frozenset[GroupPlace]]:
    """Where signs stand that are set at two of these sets which share places, one after the other."""
    return [one ^ other for one, other in combinations(sets, 2) if one & other]


def _everywhere(setting: GenericSetting, group: str) -> dict[GroupPlace, int]:
    """The exponent 1 at all places of a group at which signs may stand."""
    at = setting.flippable(setting.active(group, buffers=True))
    return claims.with_inert(dict.fromkeys(at, 1), setting.inert[group])


def _written(ways: Sequence[Exponents]) -> list[frozenset[GroupPlace]]:
    """Places at which units are written, of exponents of one sign: there signs of even functions act."""
    halves = [{p for p, e in way.items() if p.own_axis == 0 and e * sign > 0} for way in ways for sign in (1, -1)]
    return [frozenset(half) for half in halves if half]


def _beside_scales(
    setting: GenericSetting, kind: GroupKind, known: Collection[Collection[GroupPlace]]
) -> list[frozenset[GroupPlace]]:
    """Each layer that writes the units of a group, with each scale: signs pass a norm without a mean, scales do not.

    Layers at which no scales and no known signs act; nothing where there are many, as around a stream.
    """
    settled = {place for way in (*kind.scalings, *known) for place in way}
    layers: dict[tuple[str, int], set[GroupPlace]] = {}
    scales = []
    for place in setting.active(kind.group):
        if is_scale(place.tensor, setting.base[place.tensor]):
            scales.append(place)
        elif place.own_axis == 0 and place not in settled:
            layers.setdefault((place.tensor.rpartition(".")[0], place.start), set()).add(place)
    pairs = [frozenset({*layer, scale}) for layer in layers.values() for scale in scales]
    return pairs if len(pairs) <= MOST_PAIRS else []


def _linear(setting: GenericSetting, groups: Collection[str]) -> dict[str, list[dict[GroupPlace, int]]]:
    """Ways to scale groups where all parameters that bear one are near zero, but not those of its neighbours."""
    tensors = {name: {place.tensor for place in setting.places[name]} for name in groups}
    parts: list[list[str]] = []
    for name in groups:
        for part in parts:
            if all(tensors[name].isdisjoint(tensors[other]) for other in part):
                part.append(name)
                break
        else:
            parts.append([name])
    found: dict[str, list[dict[GroupPlace, int]]] = {}
    for part in parts:
        for name, own in _near_zero(setting, part, set.union(*(tensors[name] for name in part))).items():
            inert = claims.inert_places(own, 10 * NEAR_ZERO**2)
            at = setting.flippable(own.keys() - inert)
            ways = next(filter(None, (claims.scalings(own, at, *limits) for limits in SUGGESTED)), [])
            found[name] = [claims.with_inert(way, inert) for way in ways]
    return found


def _near_zero(
    setting: GenericSetting, groups: Collection[str], tensors: Collection[str]
) -> dict[str, dict[GroupPlace, PlaceDerivatives]]:
    """Derivatives where these tensors are near zero, if they are no buffers.

    What they feed then depends on other biases alone: where all of it is off, these are tried with other signs.
    """
    learnable = {
        name: tensor
        for name, tensor in setting.base.items()
        if tensor.is_floating_point() and name not in setting.spec.buffers
    }
    small = {name: NEAR_ZERO * learnable[name].double() for name in tensors if name in learnable}
    found = setting.derivatives(groups, small)
    off = [name for name, own in found.items() if not any(each.diagonal.any() for each in own.values())]
    if off:
        others = {name: -tensor for name, tensor in learnable.items() if name not in small}
        found |= setting.derivatives(off, small | others)
    return found


def even_places(setting: GenericSetting, elements: Mapping[Claim, Acts]) -> set[GroupPlace]:
    """Places at which the outputs may be an even function of a unit, so that its sign would not matter.

    Then the derivative at the place is zero for units that are zero there: some for each place of a group are. Units
    may be off then; what is left is looked at again on more of them.
    """
    at, before = {place for acts in elements.values() for place in acts}, math.inf
    while len(at) > FEW_TRIALS and before - len(at) > FEW_TRIALS:
        places, before = claims.in_order(at), len(at)
        units = dict(zip(places, spread_units(setting, [place.group for place in places]), strict=True))
        slopes = slopes_at_zero(setting, units, setting.reference.inputs)
        at = {p for p in at if not float(slopes[p].norm() if p in slopes else 0) * len(units) > THRESHOLD}
    return at


def _with_signs(kind: GroupKind, found: Sequence[Collection[GroupPlace]]) -> GroupKind:
    """The kind with signs at these sets of places."""
    signs = tuple(dict.fromkeys(claims.in_order(each), 1) for each in found)
    if kind.kind != "permutation":
        return replace(kind, signs=signs)
    return replace(kind, kind="signed", exponents=signs[0], signs=signs)
