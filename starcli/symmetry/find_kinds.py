"""Finding what acts on the units of a network besides permutations, and proving it, once; then it is cached.

Taken in this order: what the file that `--spec` names writes, what the archspec that is shipped with the architecture
writes, if its permutations are the same, else what is derived.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.checkpoints.metadata import Architecture
from starcli.errors import StarcliError
from starcli.files.cache import hash_json
from starcli.symmetry.archspec.library import load_spec
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.find import DERIVATION, Proved, cache_key, kept
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json
from starcli.symmetry.kinds.read_spec import written_kinds
from starcli.symmetry.shipped import pattern_variables, shipped_spec

if TYPE_CHECKING:
    from torch import Tensor, nn


def find_kinds(
    found: Proved,
    architecture: Architecture | None,
    network: "nn.Module",
    example: tuple["Tensor", ...],
    *,
    file: Path | None = None,
) -> Kinds:
    """The kinds of the groups of a spec that `find_spec` found for `network`, from the cache where they were before.

    `file` comes before the shipped spec; a network without a name (`architecture` None) has no cache. Groups that are
    not proved stay permutations, and so do all, with a note that says why, where the spec was not proved or the network
    cannot be evaluated in float64 or differentiated. StarcliError where a spec writes kinds that do not hold.

    >>> import torch
    >>> from starcli.models.build import build_network
    >>> from starcli.symmetry.find import find_spec
    >>> arguments = {"input_size": 9, "num_classes": 3, "hidden_dim": 6, "depth": 1}
    >>> network, example = build_network("mlp", **arguments), (torch.zeros(2, 9),)
    >>> architecture = Architecture(name="mlp", arguments=arguments, input_shape=[9])
    >>> kinds = find_kinds(find_spec(architecture, network, example), architecture, network, example)
    >>> kinds.groups["unit.0"].kind, kinds.continuous_dimension
    ('scaled', 6)
    """
    if found.proof is None:
        return Kinds.permutations(found.resolved, "only permutations of units are known: the spec is not proved")
    proved = [name for name, verdict in found.proof.verdicts.items() if verdict == "proved"]

    written = _written(found.resolved, architecture, network, file)
    claims = [] if written is None else [hash_json(written.to_json()["groups"])]

    def compute() -> dict[str, Any]:
        if written is None:
            return _derived(network, example, found.resolved, proved)
        return _holding(written, network, example, proved)

    key = None if architecture is None else cache_key(architecture, network, example)
    return kinds_from_json(kept("kinds", key, compute, found.resolved.sha256, DERIVATION, *claims))


def _written(
    resolved: Resolved, architecture: Architecture | None, network: "nn.Module", file: Path | None
) -> Kinds | None:
    """The kinds that the spec of `file`, or else the shipped one, writes.

    None where it writes none, or is not the spec `resolved`.
    """
    if file is not None:
        spec, variables = load_spec(file), pattern_variables({} if architecture is None else architecture.arguments)
    elif architecture is not None and (shipped := shipped_spec(architecture.name, architecture.arguments)) is not None:
        spec, variables = shipped
    else:
        return None
    if not spec.says_where or resolve_for(network, spec, variables) != resolved:
        return None
    return written_kinds(spec, resolved, variables)


def _holding(written: Kinds, network: "nn.Module", example: tuple["Tensor", ...], proved: list[str]) -> dict[str, Any]:
    """Written kinds that all hold, as plain values."""
    from starcli.symmetry.kinds.prove_kinds import prove_kinds  # brings in torch.export, which takes a second

    kinds, refused = prove_kinds(network, example, written, proved)
    if refused:
        raise StarcliError("the kinds of the spec do not hold", [f"{name}: {why}" for name, why in refused.items()])
    return kinds.to_json()


def _derived(
    network: "nn.Module", example: tuple["Tensor", ...], resolved: Resolved, proved: list[str]
) -> dict[str, Any]:
    """Derived kinds as plain values; permutations alone, with a note, where that fails."""
    from starcli.symmetry.kinds.derive_kinds import derive_kinds  # brings in torch.export, which takes a second

    try:
        return derive_kinds(network, example, spec=resolved, groups=proved).to_json()
    except StarcliError as error:
        return Kinds.permutations(resolved, f"only permutations of units are known: {error.summary}").to_json()
