"""Derivation of the kinds of all groups of a spec that is proved, and their proof by finite elements."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.branches import traced_network
from starcli.symmetry.kinds.continuous import invertible_kinds, orthogonal_kinds, scaled_kinds
from starcli.symmetry.kinds.copies import written_out
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.reasons import with_reasons
from starcli.symmetry.kinds.setting import GenericSetting
from starcli.symmetry.kinds.signs import signed_kinds


@dataclass(frozen=True)
class Kinds:
    """The kind of each group of a spec, and the largest change of an output under the elements that proved them."""

    spec: Resolved
    groups: Mapping[str, GroupKind]
    worst_difference: float

    @property
    def continuous_dimension(self) -> int:
        """Dimension of the continuous part of all groups together (see `GroupKind.dimension`)."""
        return sum(kind.dimension(self.spec) for kind in self.groups.values())


def derive_kinds(
    network: nn.Module,
    spec: Resolved,
    example: Sequence[Tensor],
    *,
    groups: Collection[str] | None = None,
    seed: int = 0,
    reasons: bool = False,
) -> Kinds:
    """Find for each group of `spec` which larger kind of group acts on its units, and prove it.

    `groups` are those whose permutations are proved (all, unless said): the others stay permutations. Null spaces of
    derivatives at generic weights suggest a kind (see `claims`); a finite random element must then leave the outputs
    alone to TOLERANCE, in float64, and must not at each place where it acts but is left out. Where a kind fails, the
    next smaller one is taken. A network that cannot be differentiated has permutations only. `reasons` also finds the
    operators that break larger kinds.

    >>> from starcli.symmetry.derive.derive import derive
    >>> network = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> spec = derive(network, (torch.zeros(2, 9),)).resolved
    >>> kinds = derive_kinds(network, spec, (torch.zeros(2, 9),))
    >>> kinds.groups["units.0"].kind, kinds.continuous_dimension
    ('scaled', 6)
    """
    wanted = [name for name in spec.groups if groups is None or name in groups]
    network = traced_network(network, example)  # with the auxiliary heads that eval mode leaves out
    setting = GenericSetting(network, written_out(spec), example, wanted, torch.Generator().manual_seed(seed))
    proof = KindProof(setting)
    kinds = {name: GroupKind(name) for name in spec.groups}
    kinds |= invertible_kinds(setting, proof)
    rest = [name for name in setting.found if kinds[name].kind != "invertible"]
    kinds |= scaled_kinds(setting, proof, rest)
    kinds |= orthogonal_kinds(setting, proof, {name: kinds[name] for name in rest})
    kinds |= signed_kinds(setting, proof, {name: kinds[name] for name in rest if not kinds[name].includes("signed")})
    return Kinds(setting.spec, with_reasons(setting, kinds) if reasons else kinds, proof.worst)
