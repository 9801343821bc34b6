"""Tensors that training does not change: frozen parameters, and buffers that nothing computes."""

import torch
from torch import Tensor

from starcli.data.splits import Split
from starcli.evaluation.mixed_buffers import recomputed_buffers
from starcli.models.flat_network import FlatNetwork
from starcli.training.trial import trial_pass

FORWARD_EXAMPLES = 8
"""As many tell what a forward pass in training changes."""


def fixed_in_training(flat: FlatNetwork, split: Split) -> dict[str, Tensor]:
    """The tensors of a network that steps of training do not change, though solutions may differ in them, by name.

    Frozen parameters, and float buffers that neither follow from weights and data nor change in a forward pass. Most
    networks have none.
    """
    computed = recomputed_buffers(flat.network)
    found = {n: t for n, t in flat.buffers.items() if t.is_floating_point() and n not in computed}
    if not found:
        return {}
    before = {name: tensor.clone() for name, tensor in found.items()}
    device, count = flat.parameters.device, min(FORWARD_EXAMPLES, len(split))
    inputs, _ = next(iter(split.batches(count, device=device, channels_last=True)))
    with trial_pass(flat, inputs):
        return {name: tensor for name, tensor in found.items() if torch.equal(tensor, before[name])}
