"""Residual networks of torchvision, for any number of channels.

The registry imports this module when one of them is asked for, since torchvision takes 3 s. It cannot wait until one is
built: under the meta device, where names and shapes are read off, the import of torchvision 0.21 fails.
"""

import torchvision.models
from torch import nn

from starcli.models.arguments import Count, Width


def _adapted(network: nn.Module, in_channels: int) -> nn.Module:
    """`network` with a stem for `in_channels` channels, drawn as torchvision draws it."""
    stem = network.conv1
    assert isinstance(stem, nn.Conv2d)
    if in_channels != stem.in_channels:
        network.conv1 = nn.Conv2d(in_channels, stem.out_channels, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network


def resnet18(*, in_channels: Width = 3, num_classes: Count = 1000) -> nn.Module:
    """ResNet-18 of torchvision: a 7x7 stem with pooling, four stages of two basic blocks."""
    return _adapted(torchvision.models.resnet18(weights=None, num_classes=num_classes), in_channels)


def resnet50(*, in_channels: Width = 3, num_classes: Count = 1000) -> nn.Module:
    """ResNet-50 of torchvision: a 7x7 stem with pooling, bottleneck blocks 3, 4, 6, 3."""
    return _adapted(torchvision.models.resnet50(weights=None, num_classes=num_classes), in_channels)
