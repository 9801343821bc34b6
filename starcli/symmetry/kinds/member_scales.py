"""Scales that every module of a list has for itself, as the norms of experts: each goes into what reads it, and back.

Rotations of the units that such norms scale act where all of these scales are 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.kinds.elements import spread_values, unit_values
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import Fold
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.proof.trial import TOLERANCE


def member_scales(spec: Resolved, folds: Iterable[Fold]) -> list[Fold]:
    """Those of the folds whose scale every module of a list has for itself."""
    return [fold for fold in folds if fold.scale.members(spec)]


def moved_scales(
    spec: Resolved, tensors: Mapping[str, Tensor], folds: Iterable[Fold], to: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The tensors that change when the scales of `folds` become those of `to`, or 1; float64, with gradients."""
    changed: dict[str, Tensor] = {}
    for fold in folds:
        name, members = fold.scale.tensor, fold.scale.members(spec)
        before = tensors[name].double()
        after = torch.ones_like(before) if to is None else to[name].double()
        changed[name] = after
        for place, e in fold.exponents.items():
            made = changed.get(place.tensor, tensors[place.tensor].to(torch.float64, copy=True))
            for values, power in ((before, -e), (after, e)):
                for view, own in spread_values(spec, place, made, unit_values(spec, fold.scale, values), members):
                    view.mul_(own**power) if power > 0 else view.div_(own**-power)
            changed[place.tensor] = made
    return changed


def goes_into(setting: GenericSetting, fold: Fold) -> bool:
    """Whether a scale of members may be 1 where what reads it makes up for that."""
    members, spec = fold.scale.members(setting.spec), setting.spec
    if not all(members in spec.blocks[place.tensor][0].groups for place in fold.exponents):
        return False
    return KindProof(setting).measured(moved_scales(spec, setting.base, [fold])) < TOLERANCE


@contextmanager
def at_unit_scales(setting: GenericSetting, folds: Iterable[Fold]) -> Iterator[GenericSetting]:
    """A context in which the scales of members among those of `folds` are 1; the setting itself where none are."""
    listed = member_scales(setting.spec, folds)
    if not listed:
        yield setting
        return
    weights = moved_scales(setting.spec, setting.base, listed)
    made = copy(setting)
    made.base = {**setting.base, **weights}
    with setting.moved_to(weights):
        made.found = {**setting.found, **made.derivatives([*dict.fromkeys(fold.scale.group for fold in listed)])}
        yield made
