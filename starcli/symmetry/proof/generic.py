"""A network at generic weights, where proofs and derivations look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import ProofNetwork, Reference, spreads
from starcli.symmetry.proof.redraw import calibrate_, fresh_inputs, has_norms, redrawn
from starcli.symmetry.stacked_network import with_stacks

SMALL_NETWORK = 100_000
"""Numbers in a network that is looked at on more examples: of its few units all may be alike on two."""
MORE_EXAMPLES = 8
"""How many times as many."""
DRAWS = 5
"""How often a small network is drawn at most: all of a few ReLUs may be off for all inputs, so that nothing is seen."""


@dataclass(frozen=True)
class GenericNetwork:
    """A private copy of a network at generic weights, at first in float32, and two random inputs for it."""

    subject: ProofNetwork
    base: Mapping[str, Tensor]
    """The weights that the subject is at, by name."""
    inputs: list[tuple[Tensor, ...]]

    def together(self) -> Reference:
        """The outputs for all examples of the first input; the second one gives their spread."""
        outputs, others = (self.subject.run(inputs) for inputs in self.inputs)
        return Reference(self.subject, self.inputs[0], outputs, spreads(outputs, others))


def at_generic_weights(
    network: nn.Module,
    example: Sequence[Tensor],
    generator: torch.Generator,
    spec: Resolved | None = None,
    size: float = 1.0,
) -> GenericNetwork:
    """Copy `network`, with all weights and inputs like `example` drawn anew (see `redraw`).

    Statistics of normalisations are those that such weights would have. Tensors have the names of `spec`. Values within
    the network are about `size` times as large as usual; the inputs are not.
    """
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    drawn = [fresh_inputs(network, example, generator) for _ in range(2)]
    # float32: statistics and derivatives need no more, and most operators are several times faster.
    base = redrawn(state, generator, size, normalised=has_norms(network))
    subject = ProofNetwork(network, base, torch.float32)
    calibrate_(subject.network, subject.run, drawn, generator.initial_seed(), size)
    for name, tensor in subject.state.items():
        if tensor.dtype != base[name].dtype or not torch.equal(tensor, base[name]):
            base[name] = tensor.clone()
    if spec is not None and spec.stacks:
        base = dict(spec.seen(base))
        subject = ProofNetwork(with_stacks(network, spec), base, torch.float32)
    return GenericNetwork(subject, base, drawn)


def more_examples(network: nn.Module, example: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """MORE_EXAMPLES times as many examples for a small network; None for larger ones."""
    numbers = sum(tensor.numel() for tensor in network.state_dict().values() if isinstance(tensor, Tensor))
    if numbers > SMALL_NETWORK or not all(tensor.dim() for tensor in example):
        return None
    return tuple(torch.cat([tensor] * MORE_EXAMPLES) for tensor in example)


def on_more_examples(
    network: nn.Module, example: Sequence[Tensor], generator: torch.Generator, spec: Resolved, size: float = 1.0
) -> tuple[GenericNetwork, Reference] | None:
    """A small network in float64 at generic weights, and its outputs on MORE_EXAMPLES times as many examples.

    Drawn anew where the outputs are the same for all of them. None for larger networks, and where the network takes no
    other number of examples.
    """
    more = more_examples(network, example)
    if more is None:
        return None
    try:
        for _ in range(DRAWS):
            generic = at_generic_weights(network, more, generator, spec, size)
            generic.subject.become(torch.float64, generic.base)
            reference = generic.together()
            if any(bool((each != each[:1]).any()) for each in reference.outputs if each.dim()):
                break
    except StarcliError:
        return None
    return generic, reference
