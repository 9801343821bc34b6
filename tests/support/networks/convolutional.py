"""Small convolutional networks with skips, groups, shuffles and windows, at which tracers stumble."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a skip concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 5, 2, stride=2)
        self.join, self.last = nn.Conv2d(11, 7, 3, padding=1), nn.Conv2d(7, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.first(x))
        below = F.relu(self.down(skip))
        return self.last(F.relu(self.join(torch.cat([F.relu(self.up(below)), skip], 1))))


class GroupNormed(nn.Module):
    """Three groups of four channels move, and the channels within each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(2, 12, 3), nn.GroupNorm(3, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.gelu(self.norm(self.conv(x))).mean((2, 3)))


class TwoBranches(nn.Module):
    """Branches of different widths, concatenated, then flattened with their positions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 7, 3, padding=1), nn.Linear(11 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1).flatten(1))


class Shuffled(nn.Module):
    """Grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 8, 1, groups=2)
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        h = h.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
        return self.last(F.relu(self.b(h)).mean((2, 3)))


class ShuffledBetween(nn.Module):
    """A channel shuffle between two grouped convolutions, behind a layer whose units are in groups, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 1)
        self.a, self.b, self.last = nn.Conv2d(6, 8, 1, groups=2), nn.Conv2d(8, 10, 1, groups=2), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(F.relu(self.first(x))))
        h = h.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
        return self.last(F.relu(self.b(h)).mean((2, 3)))


class ShuffledOnce(nn.Module):
    """A channel shuffle between two layers that know no groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2))


class Unfolded(nn.Module):
    """Windows cut out, changed unit by unit and laid together again (outlook attention)."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.inner, self.down = nn.Conv2d(2, 6, 1), nn.Linear(6, 6), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.unfold(self.up(x), 3, padding=1)
        h = self.inner(h.unflatten(1, (6, 9)).transpose(1, -1)).transpose(1, -1).flatten(1, 2)
        return self.down(F.fold(h, x.shape[2:], 3, padding=1))


class Folded(nn.Module):
    """Space folded into channels before a convolution: each of the four positions stays another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(8, 5, 3, padding=1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(-1, (3, 2)).unflatten(2, (3, 2)).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
        return self.last(F.relu(self.first(x)))
