"""Proof of the kinds that a spec writes: a finite random element of each way, with negative controls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from starcli.symmetry.derive.branches import traced_network
from starcli.symmetry.kinds.breaks import Passes
from starcli.symmetry.kinds.continuous import matrix_elements, scale_elements, sign_elements
from starcli.symmetry.kinds.elements import Acts
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.member_scales import at_unit_scales, goes_into, member_scales
from starcli.symmetry.kinds.reasons import GROUPS_OF_GROUPS, NOT_LOOKED_AT
from starcli.symmetry.kinds.shift_proof import proved_shifts
from starcli.symmetry.kinds.signs import even_places
from starcli.symmetry.kinds.size_proof import broken_at_other_sizes, without_refused
from starcli.symmetry.proof.places import GroupPlace


def prove_kinds(
    network: nn.Module, example: Sequence[Tensor], kinds: Kinds, groups: Sequence[str], *, seed: int = 0
) -> tuple[Kinds, dict[str, str]]:
    """Those of written `kinds` that hold for `network`, and why the others do not, by group.

    `groups` are those whose permutations are proved; others, and those whose kinds do not hold, stay permutations, but
    for units of pairs, which then are fixed.

    A finite random element of each way in which a kind says that it acts must leave the outputs alone, and must not
    where a place is left out (see `KindProof`). Shifts of norms stand in biases where that holds too.

    >>> from starcli.symmetry.archspec.resolve import resolve_for
    >>> from starcli.symmetry.archspec.spec import parse
    >>> from starcli.symmetry.kinds.read_spec import written_kinds
    >>> network = nn.Sequential(nn.Linear(9, 6), nn.GELU(), nn.Linear(6, 3))
    >>> spec = parse("{format: 2, groups: {h: {kind: scaled}}, tensors: {0.*: [h], 2.weight: [_, h^-1], 2.bias: []}}")
    >>> resolved = resolve_for(network, spec)
    >>> prove_kinds(network, (torch.zeros(2, 9),), written_kinds(spec, resolved), ["h"])[1]
    {'h': 'not scaled as it is written: gelu in 1'}
    """
    pairs = [name for name, kind in kinds.groups.items() if kind.pairs]
    claimed = {name: kinds.groups[name] for name in (*groups, *pairs) if kinds.groups[name].kind != "permutation"}
    generator = torch.Generator().manual_seed(seed)
    setting = GenericSetting(traced_network(network, example), kinds.spec, tuple(example), list(claimed), generator)
    refused = dict[str, str]()
    for name in claimed.keys() - setting.places.keys():
        refused[name] = GROUPS_OF_GROUPS if name in kinds.spec.around else NOT_LOOKED_AT
    for name, kind in claimed.items():
        if bad := [fold for fold in member_scales(setting.spec, kind.folds) if not goes_into(setting, fold)]:
            refused[name] = f"{bad[0].scale.tensor} does not fold into what is written behind it"
    tried = {name: kind for name, kind in claimed.items() if name not in refused}
    with at_unit_scales(setting, (fold for kind in tried.values() for fold in kind.folds)) as at_one:
        proof = KindProof(at_one)
        refused |= _refused(proof, tried)
    groups_now = {name: claimed.get(name, GroupKind(name)) for name in kinds.groups}
    left = without_refused(replace(kinds, groups=groups_now, worst_difference=proof.worst), refused)
    shifts = proved_shifts(KindProof(setting), {name: kind for name, kind in left.groups.items() if kind.folds})
    proved = replace(left, groups={**left.groups, **shifts})
    broken = broken_at_other_sizes(setting, proved)
    refused |= {name: f"{proved.groups[name].kind} {why}" for name, why in broken.items()}
    return without_refused(proved, broken), dict(sorted(refused.items()))


def _refused(proof: KindProof, tried: Mapping[str, GroupKind]) -> dict[str, str]:
    """Why the kinds of some groups do not hold, by group; nothing of those that do."""
    setting, refused = proof.setting, dict[str, str]()
    for elements, doubtful in (
        (matrix_elements(setting, tried), None),
        (scale_elements(setting, tried), None),
        (sign_elements(setting, tried), partial(even_places, setting)),
    ):
        for name, number in elements.keys() - set(proof.holding(elements, doubtful)):
            refused.setdefault(name, _reason(proof, tried[name], elements[name, number]))
    return refused


def _reason(proof: KindProof, kind: GroupKind, acts: Acts) -> str:
    """Why an element does not hold: the operator that breaks it, or a place that does not need it."""
    words = f"not {kind.kind} as it is written"
    if not proof.refuted({(kind.group, 0): acts}):
        without = proof.unneeded(acts, acts)
        return f"{words}: nothing depends on what acts at {_name(without[0])}" if without else words
    passes = Passes(proof.setting)
    trailing = 2 if acts and next(iter(acts.values())).dim() > len(proof.setting.shape(kind.group)) else 1
    alike: dict[GroupPlace, Tensor] = {}
    for place, act in acts.items():  # the same in all units around the group, as `Passes` compares
        alike[place] = act.reshape(-1, *act.shape[-trailing:])[0]
    broken = passes.broken_at(alike)
    return f"{words}: {broken}" if broken else words


def _name(place: GroupPlace) -> str:
    return f"axis {place.axis} of {place.tensor}"
