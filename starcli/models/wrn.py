"""Wide residual networks (Zagoruyko and Komodakis 2016): pre-activation, biased convolutions as published."""

from typing import Annotated

from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.arguments import Activation, Between, Count, Rate, Width, activation_module


class WideBlock(nn.Module):
    """Block x -> conv(f(BN(dropout(conv(f(BN(x))))))) + shortcut(x); the second convolution carries the stride."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float, activation: str) -> None:
        """The shortcut projects where the shape changes."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride))
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""
        out = self.dropout(self.conv1(self.activation(self.bn1(x))))
        out = self.conv2(self.activation(self.bn2(out)))
        result: Tensor = out + self.shortcut(x)
        return result


class WideResNet(nn.Module):
    """Three stages of (depth - 4) / 6 blocks, of (1, 2, 4) x width x widen_factor channels."""

    def __init__(
        self,
        depth: int,
        widen_factor: int,
        width: int,
        dropout: float,
        in_channels: int,
        num_classes: int,
        activation: str,
    ) -> None:
        """Arguments as of `wrn`."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        before = channels = width
        for stage in (1, 2, 3):
            channels = width * widen_factor * 2 ** (stage - 1)
            layers = []
            for block in range((depth - 4) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(WideBlock(before, channels, stride, dropout, activation))
                before = channels
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.bn1 = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, num_classes)."""
        x = self.conv1(x)
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.linear(self.activation(self.bn1(x)).mean((2, 3)))
        return out


def wrn(
    *,
    depth: Annotated[int, Between(10, 1_000)] = 16,
    widen_factor: Annotated[int, Between(1, 1_000)] = 1,
    width: Width = 16,
    dropout: Rate = 0.0,
    activation: Activation = "relu",
    in_channels: Width = 3,
    num_classes: Count = 10,
) -> nn.Module:
    """WRN-depth-widen_factor, `depth` 6n + 4: a stem of `width` channels, stages of widen_factor x (1, 2, 4) that."""
    if depth % 6 != 4:
        nearest = max(10, 6 * round((depth - 4) / 6) + 4)
        raise StarcliError(f"wrn: depth is 6n + 4 (10, 16, 22, 28, 40...), not {depth}; the nearest is {nearest}")
    return WideResNet(depth, widen_factor, width, dropout, in_channels, num_classes, activation)
