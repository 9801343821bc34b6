"""Derivation of a network's permutation spec by tracing it, with or without a proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from starcli.models.modes import modes_restored
from starcli.runtime.garbage import garbage_collection_paused
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.branches import check_traceable, traced_network
from starcli.symmetry.derive.build import Built, Frozen, build_spec
from starcli.symmetry.derive.export import export
from starcli.symmetry.derive.follow import follow
from starcli.symmetry.derive.joint import joint_axes
from starcli.symmetry.derive.trace import Trace, start
from starcli.symmetry.proof.prove import Proof, prove


@dataclass(frozen=True)
class Derived:
    """A derived spec, the reasons of all that is fixed, and the proof."""

    resolved: Resolved
    frozen: tuple[Frozen, ...]
    """Axes of parameters on which nothing moves, each with its reason."""
    notes: tuple[str, ...]
    """Operators without a rule, with the line of the model's own source."""
    proof: Proof | None = None
    """The proof of `resolved`; None where none was asked for."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Groups that tracing proposed and the proof refused, and that are therefore fixed: name -> reason."""

    @property
    def undecided(self) -> tuple[str, ...]:
        """Groups of `resolved` that the proof could neither confirm nor refuse."""
        return self.proof.undecided if self.proof else ()


def derive(network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Derived:
    """Find the permutation symmetries of `network` by tracing it once in eval mode on `example_inputs`; not proved.

    Use a batch of two or more examples. The network is left as it is. StarcliError where torch.export cannot follow it.

    >>> import torch
    >>> network = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> derive(network, (torch.zeros(2, 9),)).resolved.expressions
    {'0.bias': ('units.0',), '0.weight': ('units.0', '9'), '2.bias': ('3',), '2.weight': ('3', 'units.0')}
    """
    with garbage_collection_paused():
        trace, target = _traced(network, example_inputs, kwargs)
        return _derived(trace, build_spec(trace, target))


def derive_and_prove(
    network: nn.Module,
    example_inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Derived:
    """Find the permutation symmetries of `network` as `derive` does, and prove them (see `prove`).

    Groups that the proof rejects are fixed, and what is left is proved again. Groups that it cannot decide stay, and
    `undecided` names them. `seed` draws the weights and inputs of the proof.
    StarcliError where torch.export cannot follow the network.

    >>> import torch
    >>> import starcli as sc
    >>> network = torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    >>> sc.derive_and_prove(network, (torch.zeros(2, 9),)).proof.verdicts
    {'units.0': 'proved'}
    """
    progress.start("derive and prove", 0)
    rejected: dict[str, str] = {}
    with garbage_collection_paused():
        trace, target = _traced(network, example_inputs, kwargs)
        built = build_spec(trace, target)
    while True:
        proof = prove(target, built.resolved, tuple(example_inputs), seed=seed)
        progress.step()
        if not proof.failed:
            progress.finish()
            return _derived(trace, built, proof, rejected)
        for group in proof.failed:
            rejected[group] = proof.reasons.get(group, "permuting it changes the output")
            trace.atoms.pin(built.atoms[group], f"the proof rejected {group}")
        built = build_spec(trace, target)


def _traced(network: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any] | None) -> tuple[Trace, nn.Module]:
    """The finished trace, and the module that was traced."""
    check_traceable(network, inputs)
    with modes_restored(network):
        try:
            target = (
                traced_network(network, inputs, kwargs).train().eval()
            )  # forgets what it computed from weights before
            program = export(target, tuple(inputs))
            trace = start(target, joint_axes(program))
            follow(trace, program)
        finally:
            network.train()  # and what it computed from weights while it was traced
    return trace, target


def _derived(
    trace: Trace, built: Built, proof: Proof | None = None, rejected: Mapping[str, str] | None = None
) -> Derived:
    return Derived(built.resolved, built.frozen, tuple(trace.notes), proof, dict(rejected or {}))
