"""What holds in a part of the range alone: clamps and the like are linear, or homogeneous, as long as units are small.

At generic weights units are of size 1, and an element passes that a clamp at 20 would break. So all that acts is tried
once more where what writes units is LOUD times as large, and what reads them as much smaller.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.held import held
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derivatives import place_blocks, unit_view
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.reasons import LARGER
from starcli.symmetry.kinds.setting import VARIANCE, GenericSetting
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.evaluation import ROUNDED, difference, spreads

ONLY_SMALL = "holds as long as units are small, as between the bounds of a clamp"
"""Why a kind is not that of a group."""

LOUD = 2.0**17
"""A power of two, by which floats are multiplied exactly: units are then beyond what half precision holds."""


def broken_when_loud(setting: GenericSetting, kinds: Kinds) -> list[str]:
    """Groups of which the kind does not hold where units are large; none where the outputs are not finite there.

    A clamp shows in all digits, while few are left of a softmax of products of large queries and keys.
    """
    acting = [name for name, kind in kinds.groups.items() if kind.kind != "permutation" or kind.scalings or kind.signs]
    loud = _loud(setting, [name for name in acting if name in setting.places])
    try:
        before = _outputs(setting, loud)
    except StarcliError:
        return []
    scale = spreads(before, [each.roll(1, 0) for each in before])
    element = Element.random(kinds, setting.generator)

    def broken(groups: Collection[str]) -> bool:
        try:
            after = _outputs(setting, _of_groups(element, groups).apply(loud))
        except StarcliError:
            return False
        return not difference(after, before, scale) < ROUNDED

    if not acting or not broken(acting):
        return []
    return [name for name in acting if broken([name])] or acting


def without_broken(kinds: Kinds, broken: Collection[str]) -> Kinds:
    """The kinds where `broken` groups only permute; those of pairs, which do not, are fixed."""
    groups = {name: kind for name, kind in kinds.groups.items() if name not in broken or not kind.pairs}
    larger = dict.fromkeys(LARGER["permutation"], ONLY_SMALL)
    found = {name: GroupKind(name, larger=larger) if name in broken else kind for name, kind in groups.items()}
    return replace(kinds, whole=held(kinds.whole, kinds.groups.keys() - groups.keys()), groups=found)


def _loud(setting: GenericSetting, groups: Collection[str]) -> dict[str, Tensor]:
    """The generic weights with loud units of these groups."""
    found = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in setting.base.items()}
    for place in (place for name in groups for place in setting.places[name]):
        factor = (LOUD if place.axis == 0 else 1 / LOUD) ** (2 if place.tensor.endswith(VARIANCE) else 1)
        for block, k in place_blocks(setting.spec, place):
            unit_view(block, k, found[place.tensor]).mul_(factor)
    return found


def _outputs(setting: GenericSetting, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    with setting.moved_to(tensors):
        return setting.subject.run(setting.reference.inputs)


def _of_groups(element: Element, groups: Collection[str]) -> Element:
    """The part of an element that acts on the units of these groups, but for their places."""
    matrices, scales, signs = (
        {name: each for name, each in part.items() if name in groups}
        for part in (element.matrices, element.scales, element.signs)
    )
    return Element(element.kinds, Permutation.identity(element.kinds.spec), matrices, scales, signs)
