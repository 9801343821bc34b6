"""Proof that a spec's permutations leave the function of a network unchanged, at generic weights."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from starcli.errors import StarcliError, few, wrong_fields
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.bounds import UnreachedBounds
from starcli.symmetry.proof.controls import Controls
from starcli.symmetry.proof.draws import proof_permutations
from starcli.symmetry.proof.evaluation import ROUNDED, Reference, last_example_alone, spreads
from starcli.symmetry.proof.generic import at_generic_weights, more_examples, on_more_examples
from starcli.symmetry.proof.trial import TOLERANCE, Trial, groups_on

Verdict = Literal["proved", "failed", "undecided"]


@dataclass(frozen=True)
class Proof:
    """The verdict of a proof on each group, and the largest difference with all groups permuted together."""

    worst_difference: float
    """Largest change of an output, in units of its spread; infinite (null in JSON) where not even the shape stayed."""
    verdicts: Mapping[str, Verdict]
    reasons: Mapping[str, str] = field(default_factory=dict)
    """For each group that is not proved the reason, with names of tensors."""
    spared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each undecided group the tensors that it could leave out; in no record."""

    @property
    def proved(self) -> bool:
        """Whether every group is proved."""
        return all(verdict == "proved" for verdict in self.verdicts.values())

    @property
    def failed(self) -> tuple[str, ...]:
        """Groups whose permutation changes the function."""
        return tuple(group for group, verdict in self.verdicts.items() if verdict == "failed")

    @property
    def undecided(self) -> tuple[str, ...]:
        """Groups that stand on a tensor where leaving them out would not change the function either."""
        return tuple(group for group, verdict in self.verdicts.items() if verdict == "undecided")

    def to_json(self) -> dict[str, Any]:
        """The proof as plain values; `from_json` reads them back."""
        finite = self.worst_difference != float("inf")
        return {"worst_difference": self.worst_difference if finite else None, **self.record()}

    def record(self) -> dict[str, Any]:
        """The part of a proof that a checkpoint keeps, as plain values: all but the worst difference.

        The last digits of that one change with the number of threads; without it the same line writes the same bytes
        wherever the proof was made.
        """
        return {"proved": self.proved, "verdicts": dict(self.verdicts), "reasons": dict(self.reasons)}

    @classmethod
    def from_json(cls, value: object) -> "Proof":
        """Inverse of `to_json`. StarcliError where the input, which may come from anywhere, is no such record."""
        try:
            read = _ProofJson.model_validate(value)
        except ValidationError as error:
            raise StarcliError("this is no record of a proof", wrong_fields(error)) from None
        proof = cls(math.inf if read.worst_difference is None else read.worst_difference, read.verdicts, read.reasons)
        if proof.proved != read.proved:
            raise StarcliError("this is no record of a proof", ["`proved` contradicts the verdicts"])
        return proof


class _ProofJson(BaseModel):
    """The JSON form of a proof."""

    model_config = ConfigDict(extra="forbid", strict=True)
    proved: bool
    worst_difference: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    verdicts: dict[str, Verdict]
    reasons: dict[str, str]


def prove(network: nn.Module, spec: Resolved, example_inputs: tuple[Tensor, ...], *, seed: int = 0) -> Proof:
    """Check that permuting the groups of `spec` leaves the outputs of `network` unchanged.

    The permutations that are tried generate all (see `proof_permutations`). Where the network has bounds that its
    values do not reach (see `bounds`), as ReLU6 has, they are tried again at weights that reach them.

    In float64, on the CPU, in eval mode, with every parameter and persistent float buffer drawn anew (see `redraw`), on
    a random input: like one of the examples of `example_inputs` where the network treats each by itself, every place of
    a group matters on it and the others allow a permutation in float32 too; else like all of them together. A
    difference of TOLERANCE times the output's spread over inputs, or more, is a failure, and the groups at fault are
    found by bisection. Groups that pass must also pass the negative controls (see `controls`) or are `undecided`; where
    the network is small, after a second look on more examples.
    StarcliError where names or shapes differ or the network cannot be evaluated. The network itself is left as it is.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> network = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    >>> spec = parse("{format: 1, tensors: {0.weight: [h], 0.bias: [h], 2.weight: [_, h], 2.bias: []}}")
    >>> proof = prove(network, resolve_spec(spec, shapes), (torch.zeros(2, 9),))
    >>> proof.verdicts, proof.worst_difference < TOLERANCE
    ({'h': 'proved'}, True)
    """
    spec.check(network.state_dict())
    proof = _proof(network, spec, example_inputs, seed)
    more = more_examples(network, example_inputs) if proof.undecided else None
    with contextlib.suppress(StarcliError):  # it may take no other number of examples
        return proof if more is None else _proof(network, spec, more, seed)
    return proof


def _proof(network: nn.Module, spec: Resolved, example_inputs: tuple[Tensor, ...], seed: int) -> Proof:
    """The proof on inputs like `example_inputs`."""
    generator = torch.Generator().manual_seed(seed)
    run = _ProofRun(network, spec, example_inputs, generator)
    worst, failed = run.worst_and_failed(run.reference, lambda: TOLERANCE)
    failed |= run.sharing_conflicts()
    reasons = {group: f"permuting it changes the output; it stands on {_some(spec.bearing[group])}" for group in failed}
    undecided = run.undecided([group for group in spec.groups if group not in failed])
    sizes = run.bounds.sizes()
    del run  # a network in float64, beside which another would find no place
    for size in sizes:
        for group in _failed_at(size, network, spec, example_inputs, generator) - failed:
            failed.add(group)
            why = f"permuting it changes the output where values are {size:.0f} times as large as usual"
            reasons[group] = f"{why}; it stands on {_some(spec.bearing[group])}"
    for group, tensors in undecided.items():
        reasons[group] = f"leaving it out of {_some(tensors)} does not change the output"
    verdicts: dict[str, Verdict] = {
        group: "failed" if group in failed else "undecided" if group in undecided else "proved" for group in spec.groups
    }
    in_order = {group: reasons[group] for group in spec.groups if group in reasons}
    return Proof(worst, verdicts, in_order, {group: tuple(tensors) for group, tensors in undecided.items()})


def _some(names: Sequence[str]) -> str:
    return few(list(dict.fromkeys(names)), 6)


class _ProofRun(Trial):
    """One proof in progress at values of the usual size, with negative controls."""

    def __init__(
        self,
        network: nn.Module,
        spec: Resolved,
        example: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        generic = at_generic_weights(network, example, generator, spec)
        self.controls = Controls(spec, generic.base, generator)
        super().__init__(spec, generic, proof_permutations(spec, generator))
        self.bounds = UnreachedBounds()
        found = self._by_derivatives(generic.inputs)
        self.subject.become(torch.float64, self.base)
        # The spread of float32 is good enough for a unit of measure; the outputs are not.
        self.reference = found.anew() if found else generic.together()

    def _by_derivatives(self, drawn: list[tuple[Tensor, ...]]) -> Reference | None:
        """Run the controls that derivatives decide; return the reference of the proof, None where float32 fails.

        One example is enough where the network treats it by itself, every place matters on it (all its units may be off
        there), and all examples allow what the spec says: what it leaves out may be of no use to that one.
        """
        first, second = drawn
        try:
            with self.bounds:
                outputs = self.subject.run(first)
            alone = last_example_alone(self.subject, first, outputs)
            scale = alone.scale if alone else spreads(outputs, self.subject.run(second))
        except StarcliError:
            return None
        together = Reference(self.subject, first, outputs, scale)
        if alone and self.changed_by(self.permutations[0], together) < ROUNDED:
            self.controls.by_derivatives(alone)
            if not self.controls.open:
                return alone
        self.controls.by_derivatives(together)
        return together

    def sharing_conflicts(self) -> set[str]:
        """Groups on tensors that share memory but not axes: one of them would be permuted, the other not."""
        return {
            group
            for names in self.subject.shared()
            for name in names[1:]
            if self.spec.axes[name] != self.spec.axes[names[0]]
            for group in groups_on(self.spec, name) | groups_on(self.spec, names[0])
        }

    def undecided(self, groups: Sequence[str]) -> dict[str, list[str]]:
        """For each of `groups` with places that could not be shown to matter, the tensors of these places."""
        self.controls.only(groups)
        self.controls.by_changes(self.reference)
        found: dict[str, list[str]] = {}
        for place in self.controls.open:
            found.setdefault(place.group, []).append(place.tensor)
        return found


def _failed_at(
    size: float,
    network: nn.Module,
    spec: Resolved,
    example: Sequence[Tensor],
    generator: torch.Generator,
) -> set[str]:
    """Groups that change the outputs where values are so many times as large as usual; none where these overflow."""
    try:
        found = on_more_examples(network, example, generator, spec, size)
        if found is None:
            generic = at_generic_weights(network, example, generator, spec, size)
            generic.subject.become(torch.float64, generic.base)
            found = generic, generic.together()
    except StarcliError:
        return set()
    generic, reference = found
    # Cycles will do: what is beyond a bound is then compared with that of another unit, for each unit of each group.
    moved, cycles = set[str](), []
    for permutation in proof_permutations(spec, generator):
        if not permutation.moving <= moved:
            moved |= permutation.moving
            cycles.append(permutation)
    trial = Trial(spec, generic, cycles)
    return trial.worst_and_failed(reference, lambda: trial.rounding(reference, generator))[1]
