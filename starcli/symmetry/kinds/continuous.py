"""Kinds with continuous elements: scales, rotations, invertible matrices; and random elements of kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from starcli.symmetry.archspec.resolved import natural_key
from starcli.symmetry.kinds import claims
from starcli.symmetry.kinds.elements import (
    Acts,
    conjugated,
    diagonal_acts,
    matrix_acts,
    random_matrix,
    random_scales,
    random_signs,
)
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import Exponents, Fold, GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.member_scales import at_unit_scales, goes_into
from starcli.symmetry.kinds.shift_proof import proved_shifts
from starcli.symmetry.kinds.unit_screen import Claim
from starcli.symmetry.proof.places import GroupPlace
from starcli.symmetry.proof.redraw import is_scale


def invertible_kinds(proof: KindProof) -> dict[str, GroupKind]:
    """Groups on which all invertible matrices act, at all places: none that are on buffers."""
    setting, kinds = proof.setting, {}
    for name, found in setting.found.items():
        at = setting.active(name, buffers=True)
        if any(place.tensor in setting.spec.buffers for place in at):
            continue
        if exponents := claims.invertible_exponents(found, at):
            exponents = claims.with_inert(exponents, setting.inert[name])
            kinds[name] = GroupKind(name, "invertible", exponents, scalings=(exponents,))
    return _proved(proof, kinds)


def scaled_kinds(proof: KindProof, groups: Sequence[str]) -> dict[str, GroupKind]:
    """Groups on which positive scales act.

    Statistics are estimated anew from the data wherever weights are changed, so that no scale may rely on them.
    """
    setting, ways = proof.setting, dict[Claim, Exponents]()
    for name in groups:
        for found in setting.scalings(name):
            ways[name, len(ways)] = claims.with_inert(found, setting.inert[name])
    elements = {
        claim: diagonal_acts(random_scales(setting.shape(claim[0]), setting.generator), way)
        for claim, way in ways.items()
    }
    kinds: dict[str, GroupKind] = {}
    for claim in proof.holding(elements):
        name, way = claim[0], ways[claim]
        before = kinds.get(name, GroupKind(name, "scaled", way))
        kinds[name] = replace(before, scalings=(*before.scalings, way))
    return kinds


def orthogonal_kinds(proof: KindProof, before: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """Groups of `before` on which rotations act, but for scales that could be folded."""
    setting, kinds = proof.setting, {}
    folds = {name: tuple(possible_folds(setting, kind)) for name, kind in before.items()}
    with at_unit_scales(setting, (fold for own in folds.values() for fold in own)) as at_one:
        for name, kind in before.items():
            scalings = (*(fold.way for fold in folds[name]), *_without_scale(setting, kind))
            still = {fold.scale for fold in folds[name]}
            at = [place for place in setting.active(name, buffers=True) if place not in still]
            scales = conjugated(setting.spec, setting.base, at, folds[name])
            for fix_ones in (False, True):
                if claims.rotates(at_one.found[name], scales, fix_ones=fix_ones):
                    exponents = claims.with_inert(dict.fromkeys(at, 1), setting.inert[name])
                    kinds[name] = GroupKind(name, "orthogonal", exponents, fix_ones, folds[name], scalings)
                    break
        kinds = _proved(proof if at_one is setting else KindProof(at_one), kinds)
    return proved_shifts(proof, kinds)


def possible_folds(setting: GenericSetting, kind: GroupKind) -> list[Fold]:
    """Scales that could go into other tensors, by name."""
    folds = []
    for way in kind.scalings:
        scale = _scale_in(setting, way)
        if scale is not None:
            folds.append(Fold(scale, {place: e * way[scale] for place, e in way.items() if place != scale}))
    folds = [fold for fold in folds if not fold.scale.members(setting.spec) or goes_into(setting, fold)]
    return sorted(folds, key=lambda fold: natural_key(fold.scale.tensor))


def _without_scale(setting: GenericSetting, kind: GroupKind) -> list[Exponents]:
    """Ways to scale in which no norm's scale is."""
    return [way for way in kind.scalings if _scale_in(setting, way) is None]


def _scale_in(setting: GenericSetting, way: Exponents) -> GroupPlace | None:
    scales = (place for place in way if is_scale(place.tensor, setting.base[place.tensor]))
    return next((place for place in scales if place.has_values(setting.spec)), None)


def matrix_elements(setting: GenericSetting, kinds: Mapping[str, GroupKind]) -> dict[Claim, Acts]:
    """A random element for each group of whose kind matrices act."""
    made = {}
    for name, kind in kinds.items():
        if kind.by_matrix:
            g = random_matrix(kind, setting.shape(name), setting.generator)
            scales = conjugated(setting.spec, setting.base, kind.exponents, kind.folds)
            made[name, 0] = matrix_acts(g, kind.exponents, scales, scales)
    return made


def scale_elements(setting: GenericSetting, kinds: Mapping[str, GroupKind]) -> dict[Claim, Acts]:
    """A random element for each way to scale; a matrix is tried with all of its own."""
    return {
        (name, i): diagonal_acts(random_scales(setting.shape(name), setting.generator), way)
        for name, kind in kinds.items()
        for i, way in enumerate(kind.scalings if kind.kind != "invertible" else ())
    }


def sign_elements(setting: GenericSetting, kinds: Mapping[str, GroupKind]) -> dict[Claim, Acts]:
    """A random element for each way to set signs."""
    return {
        (name, i): diagonal_acts(random_signs(setting.shape(name), setting.generator), way)
        for name, kind in kinds.items()
        for i, way in enumerate(kind.signs)
    }


def _proved(proof: KindProof, kinds: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """Those kinds of which a random element holds."""
    return {name: kinds[name] for name, _ in proof.holding(matrix_elements(proof.setting, kinds))}
