"""A network at generic weights, where proofs and derivations look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import ProofNetwork
from starcli.symmetry.proof.redraw import calibrate_, fresh_inputs, redrawn
from starcli.symmetry.stacked_network import with_stacks


@dataclass(frozen=True)
class GenericNetwork:
    """A private copy of a network in float32 at generic weights, and two random inputs for it."""

    subject: ProofNetwork
    base: Mapping[str, Tensor]
    """The weights that the subject is at, by name."""
    inputs: list[tuple[Tensor, ...]]


def at_generic_weights(
    network: nn.Module, example: Sequence[Tensor], generator: torch.Generator, spec: Resolved | None = None
) -> GenericNetwork:
    """Copy `network`, with all weights and inputs like `example` drawn anew (see `redraw`).

    Statistics of normalisations are those that such weights would have. Tensors have the names of `spec`.
    """
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    drawn = [fresh_inputs(network, example, generator) for _ in range(2)]
    # float32: statistics and derivatives need no more, and most operators are several times faster.
    base = redrawn(state, generator)
    subject = ProofNetwork(network, base, torch.float32)
    calibrate_(subject.network, subject.run, drawn, generator.initial_seed())
    for name, tensor in subject.state.items():
        if tensor.dtype != base[name].dtype or not torch.equal(tensor, base[name]):
            base[name] = tensor.clone()
    if spec is not None and spec.stacks:
        base = dict(spec.seen(base))
        subject = ProofNetwork(with_stacks(network, spec), base, torch.float32)
    return GenericNetwork(subject, base, drawn)
