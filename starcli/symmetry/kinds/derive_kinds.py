"""Derivation of the kinds of all groups of a spec that is proved, and their proof by finite elements."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, type_in_words, unknown
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.branches import check_traceable, traced_network
from starcli.symmetry.derive.derive import Derived, derive_and_prove
from starcli.symmetry.kinds.complex_kinds import complex_kinds
from starcli.symmetry.kinds.continuous import invertible_kinds, orthogonal_kinds, scaled_kinds
from starcli.symmetry.kinds.copies import written_out
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.reasons import with_reasons
from starcli.symmetry.kinds.signs import signed_kinds
from starcli.symmetry.kinds.size_proof import broken_at_other_sizes, without_refused

NOT_DIFFERENTIABLE = "only permutations of units are known: the network cannot be differentiated"


def derive_kinds(
    network: nn.Module,
    example_inputs: Sequence[Tensor],
    kwargs: Mapping[str, Any] | None = None,
    *,
    spec: Derived | Resolved | None = None,
    groups: Collection[str] | None = None,
    seed: int = 0,
    reasons: bool = False,
) -> Kinds:
    """Find for each group of permutations of `network` which larger kind of group acts on its units, and prove it.

    Units under rotary positions, which no permutation moves, are groups too, of kind complex.

    `example_inputs` and `kwargs` are those of `derive_and_prove`, and `spec` is what it returns, or a resolved spec;
    None derives it. `groups` are those whose permutations are proved (all, unless said): the others stay permutations.
    `seed` draws weights, inputs and elements; `reasons` also finds the operators that break larger kinds.

    Null spaces of derivatives at generic weights suggest a kind (see `claims`); a finite random element must then leave
    the outputs alone to TOLERANCE, in float64, and must not at each place where it acts but is left out. Where a kind
    fails, the next smaller one is taken; where it holds for units of some sizes alone (see `size_proof`), permutations.
    A network that cannot be differentiated has permutations only, and a note.
    StarcliError where torch.export cannot follow the network, and where the spec is not of this network.

    >>> import torch
    >>> import starcli as sc
    >>> network = torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    >>> kinds = sc.derive_kinds(network, (torch.zeros(2, 9),))
    >>> kinds.groups["units.0"].kind, kinds.continuous_dimension
    ('scaled', 6)
    """
    check_traceable(network, example_inputs)
    found = derive_and_prove(network, example_inputs, kwargs, seed=seed) if spec is None else spec
    resolved, wanted = _proved_groups(found, groups)
    resolved.check(network.state_dict())
    network = traced_network(network, example_inputs, kwargs)  # with the auxiliary heads that eval mode leaves out
    generator = torch.Generator().manual_seed(seed)
    setting = GenericSetting(network, written_out(resolved), tuple(example_inputs), wanted, generator)
    proof = KindProof(setting)
    kinds = {name: GroupKind(name) for name in resolved.groups}
    kinds |= invertible_kinds(proof)
    rest = [name for name in setting.found if kinds[name].kind != "invertible"]
    kinds |= scaled_kinds(proof, rest)
    kinds |= orthogonal_kinds(proof, {name: kinds[name] for name in rest})
    kinds |= signed_kinds(proof, {name: kinds[name] for name in rest if not kinds[name].includes("signed")})
    pairs = complex_kinds(setting, resolved, kinds)
    kinds = {name: {**kinds, **pairs.kinds}[name] for name in pairs.whole.groups}
    notes = (NOT_DIFFERENTIABLE,) if setting.places and not setting.found else ()
    kinds = with_reasons(pairs.setting, kinds) if reasons else kinds
    found_kinds = Kinds(pairs.whole, kinds, max(proof.worst, pairs.worst), notes)
    return without_refused(found_kinds, broken_at_other_sizes(pairs.setting, found_kinds))


def _proved_groups(found: Derived | Resolved, groups: Collection[str] | None) -> tuple[Resolved, list[str]]:
    """The spec, and which of its groups are taken as proved."""
    if not isinstance(found, Derived | Resolved):
        raise StarcliError(f"spec: {type_in_words(found)}, expected what derive_and_prove returns")
    resolved = found.resolved if isinstance(found, Derived) else found
    for name in groups or ():
        if name not in resolved.groups:
            raise unknown("group", str(name), resolved.groups)
    return resolved, [name for name in resolved.groups if groups is None or name in groups]
