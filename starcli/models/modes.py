"""Train and eval mode of a network's modules, put back after others were needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def modes_restored(network: "nn.Module") -> Iterator[None]:
    """Afterwards every module that the network has now is in the mode that it is in now."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
