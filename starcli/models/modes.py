"""Train and eval mode of a network's modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def modes_restored(network: "nn.Module") -> Iterator[None]:
    """Context after which every module of the network is in the mode (train or eval) in which it was before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
