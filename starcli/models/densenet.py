"""DenseNet for small images (Huang et al. 2017), without bottlenecks and compression: DenseNet-40-12 by default."""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from starcli.errors import StarcliError
from starcli.models.arguments import Activation, Between, Count, Rate, Width, activation_module


class DenseLayer(nn.Module):
    """Layer x -> [x, dropout(conv(f(BN(x))))], concatenated along the channels."""

    def __init__(self, in_channels: int, growth: int, dropout: float, activation: str) -> None:
        """Add `growth` channels to `in_channels`."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.activation = activation_module(activation)
        self.conv1 = nn.Conv2d(in_channels, growth, kernel_size=3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, in_channels + growth, H, W)."""
        return torch.cat([x, self.dropout(self.conv1(self.activation(self.bn1(x))))], dim=1)


class DenseBlock(nn.Module):
    """Dense layers in a row, each of which adds `growth` channels."""

    def __init__(self, layers: int, in_channels: int, growth: int, dropout: float, activation: str) -> None:
        """Put `layers` dense layers after each other."""
        super().__init__()
        self.layer = nn.Sequential(
            *(DenseLayer(in_channels + i * growth, growth, dropout, activation) for i in range(layers))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, in_channels + layers x growth, H, W)."""
        out: Tensor = self.layer(x)
        return out


class Transition(nn.Module):
    """Layer x -> mean over 2x2 of dropout(conv1x1(f(BN(x))))."""

    def __init__(self, channels: int, dropout: float, activation: str) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.activation = activation_module(activation)
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H / 2, W / 2)."""
        return functional.avg_pool2d(self.dropout(self.conv1(self.activation(self.bn1(x)))), 2)


class DenseNet(nn.Module):
    """Stem of 2 x growth channels, then three dense blocks with two transitions between them, a mean, a linear head."""

    def __init__(
        self, depth: int, growth: int, dropout: float, in_channels: int, num_classes: int, activation: str
    ) -> None:
        """Build blocks of (depth - 4) / 3 layers."""
        super().__init__()
        layers = (depth - 4) // 3
        channels = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
        self.block1 = DenseBlock(layers, channels, growth, dropout, activation)
        channels += layers * growth
        self.trans1 = Transition(channels, dropout, activation)
        self.block2 = DenseBlock(layers, channels, growth, dropout, activation)
        channels += layers * growth
        self.trans2 = Transition(channels, dropout, activation)
        self.block3 = DenseBlock(layers, channels, growth, dropout, activation)
        channels += layers * growth
        self.bn1 = nn.BatchNorm2d(channels)
        self.activation = activation_module(activation)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, num_classes)."""
        x = self.trans1(self.block1(self.conv1(x)))
        x = self.block3(self.trans2(self.block2(x)))
        out: Tensor = self.fc(self.activation(self.bn1(x)).mean((2, 3)))
        return out


def densenet40_12(
    *,
    depth: Annotated[int, Between(7, 400)] = 40,
    growth_rate: Width = 12,
    dropout: Rate = 0.0,
    activation: Activation = "relu",
    in_channels: Width = 3,
    num_classes: Count = 10,
) -> nn.Module:
    """DenseNet of `depth` 3n + 4 layers (three blocks of n), each of which adds `growth_rate` channels."""
    if depth % 3 != 1:
        nearest = 3 * round((depth - 4) / 3) + 4
        raise StarcliError(f"densenet40-12: depth is 3n + 4 (7, 10, ..., 40), not {depth}; the nearest is {nearest}")
    return DenseNet(depth, growth_rate, dropout, in_channels, num_classes, activation)
