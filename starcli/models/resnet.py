"""Residual networks for small images (He et al. 2016): a 3x3 stem, stages of basic blocks, a mean, a linear head."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from starcli.models.arguments import Activation, Between, Count, Width, activation_module


class BasicBlock(nn.Module):
    """Block x -> f(BN(conv(f(BN(conv(x))))) + shortcut(x)); the shortcut projects where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, activation: str) -> None:
        """The first convolution carries the stride."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""
        inner = self.activation(self.bn1(self.conv1(x)))
        out: Tensor = self.activation(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Residual network with stages `layer1`, `layer2`, ... of width, 2 x width, ... channels.

    All stages but the first halve the image.
    """

    def __init__(self, blocks: Sequence[int], width: int, in_channels: int, num_classes: int, activation: str) -> None:
        """`blocks` holds the number of blocks of each stage."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(blocks)
        before = channels = width
        for stage, count in enumerate(blocks, start=1):
            channels = width * 2 ** (stage - 1)
            layers = []
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(BasicBlock(before, channels, stride, activation))
                before = channels
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.linear = nn.Linear(channels, num_classes)
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, num_classes)."""
        x = self.activation(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.linear(x.mean((2, 3)))
        return out


def resnet18_cifar(
    *,
    width: Width = 64,
    activation: Activation = "relu",
    in_channels: Width = 3,
    num_classes: Count = 10,
) -> nn.Module:
    """ResNet-18 without the stem's pooling: four stages of two blocks, `width` channels in the first."""
    return ResNet((2, 2, 2, 2), width, in_channels, num_classes, activation)


def resnet(
    *,
    blocks: Annotated[int, Between(1, 200)] = 1,
    width: Width = 8,
    stages: Annotated[int, Between(2, 4)] = 3,
    activation: Activation = "relu",
    in_channels: Width = 3,
    num_classes: Count = 10,
) -> nn.Module:
    """Small residual network: `stages` stages of `blocks` basic blocks, `width` channels in the first stage."""
    return ResNet((blocks,) * stages, width, in_channels, num_classes, activation)
