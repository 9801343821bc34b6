"""Finding the permutation spec of a network, and proving it before anything trusts it.

Looked up in this order: the file that `--spec` names, the checkpoints' own record, the archspec that is shipped with
the architecture, one derived by tracing the network. Proofs and derivations are cached under a hash of what the
network is and computes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.checkpoints.metadata import Architecture, SpecRecord
from starcli.errors import StarcliError
from starcli.files.cache import CacheKind, cached, hash_json
from starcli.symmetry.archspec.library import load_spec
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.fingerprint import network_fingerprint
from starcli.symmetry.proof.prove import Proof, prove
from starcli.symmetry.shipped import pattern_variables, shipped_spec
from starcli.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Proved:
    """A resolved spec and its proof (None where none was asked for)."""

    resolved: Resolved
    proof: Proof | None

    @property
    def movable(self) -> bool:
        """Whether any group has more than one unit, so that there is something to permute."""
        return any(group.size > 1 for group in self.resolved.groups.values())

    def record(self) -> SpecRecord:
        """The record that a checkpoint keeps of the spec and its proof."""
        return SpecRecord(
            resolved=self.resolved.to_json(),
            sha256=self.resolved.sha256,
            proof=None if self.proof is None else self.proof.record(),
        )


DERIVATION = "23"
"""Raised when symmetries are derived in another way, so that what was kept is derived anew."""
CacheKey = list[Any] | None
"""What a cache key is made of besides what is cached; None for a network that no hash tells from others."""


def cache_key(architecture: Architecture, network: "nn.Module", example: tuple["Tensor", ...]) -> CacheKey:
    """The key of what is found out of a network: its architecture, its fingerprint, and this program's version."""
    identity = network_fingerprint(architecture.name, network, example)
    return None if identity is None else [architecture.model_dump(), __version__, *([identity] if identity else [])]


def kept(kind: CacheKind, key: CacheKey, compute: Callable[[], dict[str, object]], *more: str) -> Any:
    """`compute()`, or what was computed before under the same key."""
    return compute() if key is None else cached(kind, hash_json([*key, *more]), compute)


def find_spec(
    architecture: Architecture,
    network: "nn.Module",
    example: tuple["Tensor", ...],
    *,
    file: Path | None = None,
    record: SpecRecord | None = None,
    accept_unproved: bool = False,
) -> Proved:
    """Find the spec of `network` and prove it on `example` inputs.

    `file` and `record` (of a checkpoint) come before the shipped spec and a derived one. `accept_unproved` skips the
    proof and takes the spec at its word. What a checkpoint says of a proof is not believed: files come from strangers,
    and a proof is made once on each machine and then cached. StarcliError where the spec does not fit the network, or
    names the groups that the proof rejects.

    >>> import torch
    >>> from starcli.models.build import build_network
    >>> arguments = {"input_size": 9, "num_classes": 3, "hidden_dim": 6, "depth": 1}
    >>> network = build_network("mlp", **arguments)
    >>> architecture = Architecture(name="mlp", arguments=arguments, input_shape=[9])
    >>> found = find_spec(architecture, network, (torch.zeros(2, 9),), accept_unproved=True)
    >>> list(found.resolved.sizes.values())
    [6]
    """
    key = cache_key(architecture, network, example)
    origin, resolved = _look_up(architecture, network, example, file, record, key)
    if accept_unproved:
        return Proved(resolved, None)
    return _believed(resolved, _proof_of(network, resolved, example, key), origin)


def spec_without_name(
    network: "nn.Module", example: tuple["Tensor", ...], *, file: Path | None, accept_unproved: bool
) -> Proved:
    """`find_spec` for a network that has no name: from `file`, or derived anew; nothing can be cached."""
    from starcli.symmetry.derive.branches import traced_network
    from starcli.symmetry.derive.derive import derive_and_prove

    if file is None:
        derived = derive_and_prove(network, example)
        return Proved(derived.resolved, derived.proof)
    resolved = resolve_for(network, load_spec(file))
    if accept_unproved:
        return Proved(resolved, None)
    return _believed(resolved, prove(traced_network(network, example), resolved, example), file.name)


def recorded_spec(network: "nn.Module", record: SpecRecord) -> Resolved:
    """The spec that a checkpoint records. StarcliError where it does not fit the tensors of `network`."""
    resolved = resolved_from_json(record.resolved)
    resolved.check(network.state_dict())
    return resolved


def _believed(resolved: Resolved, proof: Proof, origin: str) -> Proved:
    """A spec whose proof holds; StarcliError for any other."""
    if not proof.proved:
        problems = [f"{group}: permuting it changes the function" for group in proof.failed]
        problems += [f"{group}: the proof could not decide" for group in proof.undecided]
        raise StarcliError(f"the spec ({origin}) does not hold; --unproved uses it all the same", problems)
    return Proved(resolved, proof)


def _look_up(
    architecture: Architecture,
    network: "nn.Module",
    example: tuple["Tensor", ...],
    file: Path | None,
    record: SpecRecord | None,
    key: CacheKey,
) -> tuple[str, Resolved]:
    """The origin of the spec, and the spec resolved against the tensors of `network`, not yet proved."""
    if file is not None:
        return file.name, resolve_for(network, load_spec(file), pattern_variables(architecture.arguments))
    if record is not None:
        return "recorded", recorded_spec(network, record)
    shipped = shipped_spec(architecture.name, architecture.arguments)
    if shipped is not None:
        spec, variables = shipped
        return "shipped", resolve_for(network, spec, variables)
    return "derived", _derived(network, example, key)


def _proof_of(network: "nn.Module", resolved: Resolved, example: tuple["Tensor", ...], key: CacheKey) -> Proof:
    """The proof of `resolved` for this network, from the cache where it was proved before."""

    def compute() -> dict[str, object]:
        from starcli.symmetry.derive.branches import traced_network  # brings in torch.export, which takes a second

        # with the auxiliary heads that eval mode leaves out, as they were traced
        return prove(traced_network(network, example), resolved, example).to_json()

    return Proof.from_json(kept("proofs", key, compute, resolved.sha256))


def _derived(network: "nn.Module", example: tuple["Tensor", ...], key: CacheKey) -> Resolved:
    """The spec that tracing finds, from the cache where it was found before."""

    def compute() -> dict[str, object]:
        from starcli.symmetry.derive.derive import derive_and_prove  # brings in torch.export, which takes a second

        return derive_and_prove(network, example).resolved.to_json()

    return resolved_from_json(kept("specs", key, compute, DERIVATION))
