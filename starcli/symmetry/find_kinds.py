"""Finding what acts on the units of a network besides permutations: derived and proved once, then cached."""

from typing import TYPE_CHECKING, Any

from starcli.checkpoints.metadata import Architecture
from starcli.errors import StarcliError
from starcli.symmetry.find import Proved, cache_key, kept
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json

if TYPE_CHECKING:
    from torch import Tensor, nn

DERIVATION = "1"
"""Version of the derivation of kinds, part of their key in the cache."""


def find_kinds(
    found: Proved, architecture: Architecture | None, network: "nn.Module", example: tuple["Tensor", ...]
) -> Kinds:
    """The kinds of the groups of a spec that `find_spec` found for `network`, from the cache where they were before.

    A network without a name (`architecture` None) has no cache. Groups that are not proved stay permutations, and so do
    all, with a note that says why, where the spec was not proved or the network cannot be evaluated in float64 or
    differentiated.

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

    def compute() -> dict[str, Any]:
        from starcli.symmetry.kinds.derive_kinds import derive_kinds  # brings in torch.export, which takes a second

        try:
            return derive_kinds(network, example, spec=found.resolved, groups=proved).to_json()
        except StarcliError as error:
            note = f"only permutations of units are known: {error.summary}"
            return Kinds.permutations(found.resolved, note).to_json()

    key = None if architecture is None else cache_key(architecture, network, example)
    return kinds_from_json(kept("kinds", key, compute, found.resolved.sha256, DERIVATION))
