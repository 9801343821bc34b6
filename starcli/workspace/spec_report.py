"""Reports of `starcli spec`: the spec of one network, checked, derived, explained, or compared with another one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starcli.errors import StarcliError
from starcli.runtime.progress import Progress
from starcli.symmetry.archspec.compare import same_symmetries
from starcli.symmetry.archspec.expression import Fixed, symbols
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.branches import traced_network
from starcli.symmetry.derive.derive import Derived, derive, derive_and_prove
from starcli.symmetry.derive.to_yaml import to_yaml
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.prove_kinds import prove_kinds
from starcli.symmetry.kinds.write_spec import kinds_to_yaml
from starcli.symmetry.proof.prove import Proof, prove
from starcli.version import __version__
from starcli.workspace.spec_network import SpecNetwork


@dataclass(frozen=True)
class SpecReport:
    """A spec of one network with its proof, its fixed axes, and the notes of its derivation."""

    network: SpecNetwork
    resolved: Resolved
    proof: Proof
    frozen: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    kinds: Kinds | None = None
    """The kinds of the groups, where they were looked for."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Groups of which the spec says a kind that does not act, and why."""

    def row(self) -> dict[str, Any]:
        """The report as one JSON object, of `spec check` and `spec derive`.

        `log10_symmetries` is log10 of the number of permutations, `movable` the share of learnable parameters that at
        least one of them moves, `worst_difference` the largest change of an output in units of its spread over inputs.
        `continuous_dimension` is there where kinds were looked for.
        """
        parameters = sum(tensor.numel() for tensor in self.network.module.parameters())
        return {
            "arch": self.network.name,
            "groups": len(self.resolved.groups),
            "tensors": len(self.resolved.member_shapes),
            "parameters": parameters,
            "log10_symmetries": self.resolved.log10_symmetries(),
            "movable": self.resolved.movable(),
            "frozen": list(self.frozen),
            "worst_difference": self.proof.worst_difference,
            "proved": self.proof.proved and not self.refused,
            "undecided": list(self.proof.undecided),
            "sha256": self.resolved.sha256,
            **({"continuous_dimension": self.kinds.continuous_dimension} if self.kinds else {}),
        }

    @property
    def reasons(self) -> Mapping[str, str]:
        """For each group that is not proved the reason."""
        return {**self.proof.reasons, **self.refused}

    @property
    def yaml(self) -> str:
        """The spec as YAML for a reader, with the outcome of the proof in comments above it."""
        lines = [
            f"{self.network.name}: derived and proved by starcli {__version__}",
            f"groups {len(self.resolved.groups)}, worst difference {self.proof.worst_difference:.0e}",
            *(f"fixed, since it is not proved: {group}: {reason}" for group, reason in self.rejected.items()),
        ]
        return "".join(f"# {' '.join(line.split())}\n" for line in lines) + self._yaml()

    def _yaml(self) -> str:
        return to_yaml(self.resolved) if self.kinds is None else kinds_to_yaml(self.kinds)


def check_report(network: SpecNetwork, given: str | None) -> SpecReport:
    """Check the spec that `given` names against the network's tensors, and prove it, with the kinds that it says."""
    resolved = network.resolve(given)
    proof = _proof(network, resolved)
    report = SpecReport(network, resolved, proof, tuple(_fixed(resolved)))
    written = network.written(given, resolved)
    if written is not None:
        kinds, refused = prove_kinds(network.module, network.example, written, _proved(proof))
        return replace(report, kinds=kinds, refused=refused)
    claims = network.claims(given, resolved)
    if not claims:
        return report
    kinds = _kinds(network, resolved, proof, reasons=True)
    refused = {
        name: kinds.groups[name].refusal(line.kind, fixes_ones=line.fixes_ones)
        for name, line in claims.items()
        if proof.verdicts[name] == "proved"
    }
    return replace(report, kinds=kinds, refused={name: why for name, why in refused.items() if why})


def _kinds(network: SpecNetwork, resolved: Resolved, proof: Proof, *, reasons: bool = False) -> Kinds:
    """The kinds of all groups that are proved."""
    return derive_kinds(network.module, network.example, spec=resolved, groups=_proved(proof), reasons=reasons)


def _proved(proof: Proof) -> list[str]:
    return [name for name, verdict in proof.verdicts.items() if verdict == "proved"]


def _proof(network: SpecNetwork, resolved: Resolved) -> Proof:
    """The proof of a spec; auxiliary heads that eval mode leaves out are included, as in tracing."""
    return prove(traced_network(network.module, network.example), resolved, network.example)


def derive_report(network: SpecNetwork, progress: Progress, *, kinds: bool) -> SpecReport:
    """Derive the spec of a network by tracing it, and prove it; with `kinds`, those of its groups too."""
    found = derive_and_prove(network.module, network.example, progress=progress)
    assert found.proof is not None
    frozen = tuple(each.to_json() for each in found.frozen)
    report = SpecReport(network, found.resolved, found.proof, frozen, found.notes, found.rejected)
    return replace(report, kinds=_kinds(network, found.resolved, found.proof)) if kinds else report


def _fixed(resolved: Resolved, reasons: Mapping[tuple[str, int], str] | None = None) -> list[dict[str, Any]]:
    """A row for each axis of a learnable tensor on which nothing moves."""

    def why(name: str, axis: int) -> str:
        if resolved.shapes[name][axis] == 1:
            return "has one position only"
        found = (reasons or {}).get
        return next(filter(None, (found((each, axis)) for each in resolved.names_of(name))), "the spec fixes it")

    return [
        {"tensor": name, "axis": axis, "reason": why(name, axis)}
        for name in resolved.learnable()
        for axis, node in enumerate(resolved.axes[name])
        if isinstance(node, Fixed)
    ]


@dataclass(frozen=True)
class Explanation:
    """A row for all symmetries, for each group of a spec, for each fixed axis; the axes on which groups stand."""

    symmetries: dict[str, Any]
    groups: list[dict[str, Any]]
    frozen: list[dict[str, Any]]
    axes: Mapping[tuple[str, str], list[int]]
    """Axes on which a group stands, by group and tensor."""


def explain(network: SpecNetwork, given: str | None) -> Explanation:
    """Explain the spec that `given` names: the kind of each group and why it is no larger, and why axes are fixed.

    The reason of a fixed axis is that of tracing, where that finds it fixed too. Groups that are not proved have no
    kind.
    """
    resolved = network.resolve(given)
    proof = _proof(network, resolved)
    kinds = _kinds(network, resolved, proof, reasons=True)
    whole, traced = kinds.whole, _traced(network)
    reasons = {} if traced is None else {(each.tensor, each.axis): each.reason for each in traced.frozen}
    groups = [
        {
            "group": name,
            "size": group.size,
            "within": group.within,
            "verdict": proof.verdicts.get(name) if name in resolved.groups else "proved",
            "tensors": list(whole.bearing[name]),
            **({"kind": None} if proof.verdicts.get(name, "proved") != "proved" else kinds.groups[name].to_json(whole)),
        }
        for name, group in whole.groups.items()
    ]
    axes: dict[tuple[str, str], list[int]] = {}
    for tensor, nodes in whole.axes.items():
        for axis, node in enumerate(nodes):
            for group in dict.fromkeys(symbols(node)):
                axes.setdefault((group, tensor), []).append(axis)
    symmetries = {
        "arch": network.name,
        "groups": len(groups),
        "log10_symmetries": resolved.log10_symmetries(),
        "continuous_dimension": kinds.continuous_dimension,
        "worst_difference": max(proof.worst_difference, kinds.worst_difference),
        "proved": proof.proved,
    }
    return Explanation(symmetries, groups, _fixed(whole, reasons), axes)


def _traced(network: SpecNetwork) -> Derived | None:
    try:
        return derive(network.module, network.example)
    except StarcliError:
        return None  # a network that cannot be traced still has the spec that was written for it


def spec_differences(network: SpecNetwork, first: str, second: str) -> list[str]:
    """List in what the symmetries of two specs of a network differ; names of groups do not matter."""
    return same_symmetries(network.resolve(first), network.resolve(second))
