"""Trials of kinds at units of other sizes and signs: clamps and the like are homogeneous for small ones alone.

At generic weights units are of size 1, and an element passes that a clamp at 20 would break, or a shrinkage by 0.001.
So all that acts is tried once more where what writes units is LOUDER times as large and what reads them as much
smaller, and the other way round where it is QUIETER. Few units may all be positive at the generic weights, where an
ELU is linear: there all that acts is tried with units of the other sign.
"""

import math
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.held import held
from starcli.symmetry.kinds.continuous import matrix_elements, scale_elements, sign_elements
from starcli.symmetry.kinds.derivatives import by_tensor, unit_views
from starcli.symmetry.kinds.elements import Acts
from starcli.symmetry.kinds.generic_setting import VARIANCE, GenericSetting
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof, acted_together
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.member_scales import member_scales, moved_scales
from starcli.symmetry.kinds.reasons import LARGER
from starcli.symmetry.kinds.unit_screen import Claim
from starcli.symmetry.proof.evaluation import ROUNDED, Reference, spreads

ONLY_SMALL = "holds as long as units are small, as between the bounds of a clamp"
"""Why a kind is not that of a group."""

ONLY_LARGE = "holds as long as units are not near 0, as beyond the dead zone of a shrinkage"
"""Why a kind is not that of a group."""

ONLY_ONE_SIGN = "holds as long as units have the same signs, as where an ELU is linear"
"""Why a kind is not that of a group."""

LOUDER = 2.0**17
"""A power of two, by which floats are multiplied exactly: units are then beyond what half precision holds."""

QUIETER = 2.0**-10
"""Dead zones that are much narrower than units of this size are not seen, and change outputs by less than 1e-5."""


def broken_at_other_sizes(setting: GenericSetting, kinds: Kinds) -> dict[str, str]:
    """Groups of which the kind does not hold where units are large, near 0 or of the other sign, and why not."""
    found = dict[str, str]()
    for factor, why in ((-1.0, ONLY_ONE_SIGN), (QUIETER, ONLY_LARGE), (LOUDER, ONLY_SMALL)):
        found |= dict.fromkeys(_broken_at(factor, setting, kinds), why)
    return found


def _broken_at(factor: float, setting: GenericSetting, kinds: Kinds) -> list[str]:
    """Groups of which the kind does not hold at so many times the size; none where outputs are not finite there.

    A clamp shows in all digits, while few are left of a softmax of products of large queries and keys.
    """
    acting = {
        name: kind for name, kind in kinds.groups.items() if name in setting.places and kind.kind != "permutation"
    }
    sized = copy(setting)
    weights = _sized_weights(factor, setting, acting)
    listed = member_scales(setting.spec, (fold for kind in acting.values() for fold in kind.folds))
    weights |= moved_scales(setting.spec, {**setting.base, **weights}, listed)
    sized.base = {**setting.base, **weights}
    with setting.moved_to(weights):
        try:
            outputs = sized.subject.run(sized.reference.inputs)
        except StarcliError:
            return []
        scale = spreads(outputs, [each.roll(1, 0) if each.dim() else each for each in outputs])
        sized.reference = Reference(sized.subject, sized.reference.inputs, outputs, scale)
        matrices = matrix_elements(sized, acting)
        diagonal = [*scale_elements(sized, acting).items(), *sign_elements(sized, acting).items()]
        sets = (matrices, {(name, k): acts for k, ((name, _), acts) in enumerate(diagonal)})
        return sorted({name for elements in sets for name in _broken(KindProof(sized), elements)})


def _broken(proof: KindProof, elements: Mapping[Claim, Acts]) -> set[str]:
    """Groups of elements that change the outputs; all are tried together first."""

    def breaks(some: Iterable[Acts]) -> bool:
        return ROUNDED <= proof.change(acted_together(some)) < math.inf

    if not elements or not breaks(elements.values()):
        return set()
    return {name for (name, _), acts in elements.items() if breaks([acts])} or {name for name, _ in elements}


def without_refused(kinds: Kinds, refused: Mapping[str, str]) -> Kinds:
    """The kinds where groups that were `refused`, for these reasons, only permute; those of pairs are fixed."""
    pairs = [name for name in refused if kinds.groups[name].pairs]
    found = {name: kind for name, kind in kinds.groups.items() if name not in pairs}
    for name in refused.keys() & found.keys():
        found[name] = GroupKind(name, larger=dict.fromkeys(LARGER["permutation"], refused[name]))
    return replace(kinds, whole=held(kinds.whole, pairs), groups=found)


def _sized_weights(factor: float, setting: GenericSetting, groups: Iterable[str]) -> dict[str, Tensor]:
    """The generic weights that bear units of these groups, which are so many times as large.

    What reads them brings their size back, not their sign: else what is behind an even function, or a ReLU, kept its.
    """
    at = [place for name in groups for place in setting.places[name]]
    found = {name: setting.base[name].to(torch.float64, copy=True) for name in by_tensor(at)}
    for place in at:
        times = (factor if place.own_axis == 0 else 1 / abs(factor)) ** (2 if place.tensor.endswith(VARIANCE) else 1)
        for view in unit_views(setting.spec, place, found[place.tensor]):
            view.mul_(times)
    return found
