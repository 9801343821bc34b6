"""Derivation of a network's permutation spec by tracing it, with or without a proof."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from starcli.models.modes import modes_restored
from starcli.runtime.garbage import garbage_collection_paused
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.held import held
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.atoms import AtomLabels
from starcli.symmetry.derive.branches import check_traceable, traced_network
from starcli.symmetry.derive.build import Built, Frozen, build_spec
from starcli.symmetry.derive.export import export
from starcli.symmetry.derive.follow import follow
from starcli.symmetry.derive.joint import joint_axes
from starcli.symmetry.derive.lists import MemberList, are_summands, member_lists
from starcli.symmetry.derive.parts_read import parts_read
from starcli.symmetry.derive.trace import start
from starcli.symmetry.derive.values import Value
from starcli.symmetry.derive.written_pieces import join_written_pieces
from starcli.symmetry.proof.prove import Proof, prove

MOST_HALVINGS = 3
"""How often groups that a proof rejects are halved; of those that it rejects then, all units are told apart."""


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
    """Groups that tracing proposed and the proof refused, or could not decide, and that are therefore fixed: name ->
    reason."""


def derive(network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Derived:
    """Find the permutation symmetries of `network` by tracing it once in eval mode on `example_inputs`; not proved.

    Use a batch of two or more examples. The network is left as it is. StarcliError where torch.export cannot follow it.

    >>> import torch
    >>> network = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> derive(network, (torch.zeros(2, 9),)).resolved.expressions
    {'0.bias': ('units.0',), '0.weight': ('units.0', '9'), '2.bias': ('3',), '2.weight': ('3', 'units.0')}
    """
    with garbage_collection_paused():
        traced = _traced(network, example_inputs, kwargs)
        built = traced.built()
    return Derived(built.resolved, built.frozen, tuple(traced.trace.notes))


def derive_and_prove(
    network: nn.Module,
    example_inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Derived:
    """Find the permutation symmetries of `network` as `derive` does, and prove them (see `prove`).

    Groups that the proof rejects, or cannot decide, are fixed, `rejected` names them, and what is left is proved again
    where it was not. A group that it rejects is halved first, a few times: tracing may have taken two groups for one,
    as of halves of a layer that are added up. `seed` draws the weights and inputs of the proof.
    StarcliError where torch.export cannot follow the network.

    >>> import torch
    >>> import starcli as sc
    >>> network = torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    >>> sc.derive_and_prove(network, (torch.zeros(2, 9),)).proof.verdicts
    {'units.0': 'proved'}
    """
    progress.start("derive and prove", 0)
    rejected: dict[str, str] = {}
    halvings = 0
    with garbage_collection_paused():
        traced = _traced(network, example_inputs, kwargs)
        built = traced.built()
    while not (proof := prove(traced.target, built.resolved, tuple(example_inputs), seed=seed)).proved:
        progress.step()
        proved = held(built.resolved, proof.undecided)
        if any(_bears(built, each.of, [*proof.failed, *proof.undecided]) for each in traced.members):
            traced.follow([kept for each in traced.members for kept in _left(built, each.of, proof)])
        else:
            rejected |= proof.reasons
            halvings += bool(proof.failed)
            for group in proof.failed:
                units = built.atoms[group]
                parts = np.array_split(units, 2) if halvings <= MOST_HALVINGS else units
                traced.trace.atoms.tell_apart(parts, f"the proof rejected {group}")
            for group in proof.undecided:
                if traced.leave_out(proof.spared[group], built.atoms[group]):
                    del rejected[group]
                else:
                    traced.trace.atoms.tell_apart(built.atoms[group], f"the proof could not decide {group}")
        built = traced.built()
        if not proof.failed and built.resolved == proved:  # what is left was proved with the others
            proof = replace(proof, verdicts=dict.fromkeys(proved.groups, "proved"), reasons={}, spared={})
            break
    progress.finish()
    rejected = {group: reason for group, reason in rejected.items() if group not in built.resolved.groups}
    return Derived(built.resolved, built.frozen, tuple(traced.trace.notes), proof, rejected)


def _bears(built: Built, members: MemberList, groups: Sequence[str]) -> bool:
    """Whether one of `groups` stands on a tensor with a position for each member of a list."""
    tensors = {*members.stacks, *members.rows} - members.still
    return any(not tensors.isdisjoint(built.resolved.bearing[group]) for group in groups)


def _left(built: Built, members: MemberList, proof: Proof) -> Iterator[MemberList]:
    """The list as far as a proof leaves it: without summands, whose order is of no matter, or none at all.

    Of other tensors that could be left out the proof saw too little (below the bounds of a clamp, say).
    """
    tensors = {*members.stacks, *members.rows} - members.still
    spared = {name for names in proof.spared.values() for name in names} & tensors
    fails = _bears(built, members, proof.failed) or (not spared and _bears(built, members, proof.undecided))
    if not fails and spared != tensors and spared <= members.summands:
        yield replace(members, still=members.still | spared)


class _Traced:
    """An exported network, followed with the lists whose members may change places."""

    def __init__(self, program: Any, target: nn.Module) -> None:
        join_written_pieces(program.graph_module.graph)
        self.program, self.target, self.joint, self.cut = program, target, joint_axes(program), parts_read(program)
        self.follow()

    def follow(self, lists: Sequence[MemberList] | None = None) -> None:
        """Follow the network anew, with these lists, at first with all that there are."""
        self.trace = start(self.target, self.joint, self.cut)
        found = member_lists(self.program, self.trace.same) if lists is None else lists
        self.members = follow(self.trace, self.program, found)

    def leave_out(self, tensors: Sequence[str], units: AtomLabels) -> bool:
        """Leave these units out of `tensors`, if those are added up over all units: their order is of no matter then.

        Whether that was so. Of other tensors that could be left out a proof saw too little.
        """
        if not are_summands(self.program, tensors):
            return False
        atoms = self.trace.atoms
        for name in tensors:
            parameter = self.trace.parameters[name]
            parts = [
                atoms.new(each.size, fixed="summands, in any order").reshape(each.shape)
                if np.isin(atoms.find(each), atoms.find(units)).any()
                else each
                for each in parameter.value.factors
            ]
            parameter.value = Value(parameter.value.shape, tuple(parts))
        return True

    def built(self) -> Built:
        """The spec of what was found; lists whose members are told apart after all are none."""
        while True:
            built = build_spec(self.trace, self.target)
            moving = np.concatenate([np.empty(0, dtype=np.int64), *map(np.ravel, built.atoms.values())])
            still = [each for each in self.members if not np.isin(self.trace.atoms.find(each.labels), moving).all()]
            if not still:
                return built
            self.follow([each.of for each in self.members if each not in still])


def _traced(network: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any] | None) -> _Traced:
    """The network, followed."""
    check_traceable(network, inputs)
    with modes_restored(network):
        try:
            target = traced_network(network, inputs, kwargs)
            target.train().eval()  # forgets what it computed from weights before
            return _Traced(export(target, tuple(inputs)), target)
        finally:
            network.train()  # and what it computed from weights while it was traced
