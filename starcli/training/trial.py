"""Forward passes in train mode that leave the network as it was: what training would do, found out beforehand."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from starcli.data.splits import Split
from starcli.errors import StarcliError, first_line
from starcli.models.flat_network import FlatNetwork
from starcli.models.modes import modes_restored
from starcli.runtime.global_generator import generator_borrowed
from starcli.training.seeds import generators_restored


@contextmanager
def trial_pass(flat: FlatNetwork, inputs: Tensor) -> Iterator[None]:
    """Context after a forward pass in train mode; buffers, modes and generators come back as they were."""
    before = {name: tensor.clone() for name, tensor in flat.buffers.items()}
    try:
        restored = generators_restored(flat.parameters.device)
        with modes_restored(flat.network), generator_borrowed(), restored, torch.no_grad():
            flat.network.train()
            flat.network(inputs)
            yield
    finally:
        with torch.no_grad():
            for name, tensor in flat.buffers.items():
                tensor.copy_(before[name])


def refuse_single_examples(flat: FlatNetwork, split: Split, batch_size: int) -> None:
    """Refuse to train on batches of one example a network that cannot: BatchNorm of a vector has no variance of one.

    A last batch of one example beside larger ones is left out (see `steps_per_epoch`).
    """
    if min(batch_size, len(split)) != 1:
        return
    [one, *_] = next(iter(split.batches(1, device=flat.parameters.device, channels_last=True)))
    try:
        with trial_pass(flat, one):
            return
    except Exception as error:  # a network of the user's own may raise anything
        with trial_pass(flat, torch.cat([one, one])):  # what fails here too is another fault, which then is told
            pass
        what = "--batch-size 1" if batch_size == 1 else "one training example"
        raise StarcliError(
            f"{what}: this network is trained on batches of 2 examples or more",
            [f"{type(error).__name__}: {first_line(error)}"],
        ) from error
