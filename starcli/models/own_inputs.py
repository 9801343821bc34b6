"""Inputs as networks of the user's own may want them: to write into, or to view as rows one behind the other."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn


def give_own_inputs_(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Let a network have a copy of each input: what is read may be kept for later passes, and `x -= mean` writes there.

    memory_format: `torch.contiguous_format`, or `torch.channels_last` for inputs as they come.

    >>> class Shifted(nn.Module):
    ...     def forward(self, x):
    ...         return x.sub_(1.0)
    >>> network, x = Shifted(), torch.ones(2)
    >>> give_own_inputs_(network, torch.contiguous_format)
    >>> network(x), x
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    layout = torch.contiguous_format if memory_format is torch.contiguous_format else torch.preserve_format
    network.register_forward_pre_hook(partial(_copied, layout))


def _copied(memory_format: torch.memory_format, network: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(each.clone(memory_format=memory_format) for each in inputs)


def admits_channels_last(network: nn.Module, images: Tensor) -> bool:
    """Whether a network, which is used up, takes images with channels innermost: one that views them as rows does not.

    >>> admits_channels_last(nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten()), torch.zeros(1, 2, 4, 4))
    True
    """
    layout = torch.channels_last
    for parameter in network.parameters():  # network.to does not do with parameters of five axes that are no kernel
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=layout)
    try:
        with torch.no_grad():
            network.eval()(images.clone().to(memory_format=layout))
    except Exception:  # a network of the user's own may raise anything, and says so again where it is run
        return False
    return True
