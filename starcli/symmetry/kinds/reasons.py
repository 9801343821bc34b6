"""Reasons why no larger kind than the one that was proved acts on a group."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from starcli.symmetry.archspec.kind_names import KindName
from starcli.symmetry.kinds.breaks import Passes
from starcli.symmetry.kinds.continuous import possible_folds
from starcli.symmetry.kinds.elements import (
    conjugated,
    diagonal_acts,
    random_invertible,
    random_rotation,
    random_scales,
    random_signs,
)
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.member_scales import at_unit_scales

LARGER: Mapping[KindName, tuple[KindName, ...]] = {
    "permutation": ("signed", "scaled", "orthogonal"),
    "signed": ("scaled", "orthogonal"),
    "scaled": ("orthogonal",),
    "orthogonal": ("invertible",),
    "complex": ("invertible",),
    "invertible": (),
}
"""The kinds next to each."""


GROUPS_OF_GROUPS = "its units are groups themselves"
NOT_LOOKED_AT = "no derivatives at its tensors"


def with_reasons(setting: GenericSetting, kinds: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """The kinds with the operators that break the next larger ones, or why none were looked for."""
    passes = Passes(setting)
    found = {}
    for name, kind in kinds.items():
        if name in setting.found:
            larger = {each: _reason(setting, passes, kind, each) for each in LARGER[kind.kind]}
        else:
            why = GROUPS_OF_GROUPS if name in setting.spec.around else NOT_LOOKED_AT if name in setting.groups else ""
            larger = dict.fromkeys(LARGER[kind.kind], why)
        found[name] = replace(kind, larger=larger)
    return found


def _reason(setting: GenericSetting, passes: Passes, kind: GroupKind, larger: KindName) -> str:
    """The operator that breaks a larger kind."""
    at, n = list(setting.found[kind.group]), setting.shape(kind.group)[-1]
    if larger == "signed":
        return passes.broken_at(dict.fromkeys(setting.flippable(at), random_signs((n,), setting.generator)))
    if larger == "orthogonal":
        g = random_rotation((n,), setting.generator, fix_ones=n > 2)  # what breaks these breaks all
        folds = possible_folds(setting, kind)
        scales = conjugated(
            setting.spec, setting.base, [p for p in at if p not in {fold.scale for fold in folds}], folds
        )
        own = {place: d.reshape(-1, n)[0] for place, d in scales.items()}
        with at_unit_scales(setting, folds) as at_one:
            there = passes if at_one is setting else Passes(at_one)
            return there.broken_at({place: d.unsqueeze(-1) * g / d for place, d in own.items()})
    if larger == "scaled":
        g = random_scales((n,), setting.generator) ** (1 / 8)  # so mild that an epsilon breaks it a little
        near_zero = setting.near_zero_scalings.get(kind.group, [])
        ways = [way for way in near_zero if any(place.own_axis for place in way)]  # through to where units are read
        broken = (passes.broken_at(diagonal_acts(g, way)) for way in ways)
        if reason := next(filter(None, broken), ""):
            return reason
        inverse = 1 / g
    else:
        g = random_invertible((n,), setting.generator)
        inverse = torch.linalg.inv(g).T
    return passes.broken_at({place: g if passes.writes(place) else inverse for place in at})
