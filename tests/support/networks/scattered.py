"""Small networks that write, gather and transform: on graphs, in frequencies, at points, step by step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class OnGraph(nn.Module):
    """Two layers of messages along the edges of one graph of four nodes, summed (Kipf and Welling), or their maxima."""

    def __init__(self, *, maxima: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 6), nn.Linear(6, 7), nn.Linear(7, 2)
        self.maxima = maxima
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        source, target = self.edges
        for layer in (self.first, self.second):
            messages = torch.relu(layer(x))[:, source]
            zeros = messages.new_zeros(len(x), 4, messages.shape[2])
            if self.maxima:
                x = zeros.scatter_reduce(1, target[None, :, None].expand_as(messages), messages, "amax")
            else:
                x = zeros.index_add(1, target, messages)
        return self.last(x.mean(1))


class InFrequencies(nn.Module):
    """A layer of Fourier's low frequencies beside a pointwise one (Li et al. 2021, Fourier neural operator)."""

    def __init__(self, width: int = 5, kept: int = 2) -> None:
        super().__init__()
        self.lift, self.beside, self.last = nn.Conv2d(2, width, 1), nn.Conv2d(width, width, 1), nn.Linear(width, 3)
        self.kept = kept
        self.low = nn.Parameter(torch.rand(width, width, kept, kept, 2) / width)
        self.high = nn.Parameter(torch.rand(width, width, kept, kept, 2) / width)

    def forward(self, x: Tensor) -> Tensor:
        x, n = self.lift(x), self.kept
        seen = torch.fft.rfft2(x)
        made = torch.zeros_like(seen)
        made[:, :, :n, :n] = torch.einsum("bixy,ioxy->boxy", seen[:, :, :n, :n], torch.view_as_complex(self.low))
        made[:, :, -n:, :n] = torch.einsum("bixy,ioxy->boxy", seen[:, :, -n:, :n], torch.view_as_complex(self.high))
        x = F.gelu(torch.fft.irfft2(made, s=x.shape[-2:]) + self.beside(x))
        return self.last(x.mean((2, 3)))


class AtPoints(nn.Module):
    """An image that is turned before it is looked at (Jaderberg et al. 2015, spatial transformer)."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 6))
        self.conv, self.last = nn.Conv2d(2, 6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.place(x).unflatten(1, (2, 3)), list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        return self.last(torch.relu(self.conv(x)).mean((2, 3)))


class StepByStep(nn.Module):
    """A recurrent layer by hand, whose states are written into a table."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.goes_on, self.last = nn.Linear(3, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        state, states = x.new_zeros(len(x), 5), torch.empty(len(x), x.shape[1], 5)
        for step in range(x.shape[1]):
            state = torch.tanh(self.reads(x[:, step]) + self.goes_on(state))
            states[:, step] = state
        return self.last(states.mean(1))


class OfBags(nn.Module):
    """A classifier of bags of words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.hidden, self.last = nn.EmbeddingBag(11, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, starts: Tensor | None = None) -> Tensor:
        """Of bags of one length (bags, words), or of all words and where each bag starts."""
        return self.last(torch.relu(self.hidden(self.words(x, starts))))


class OnGivenGraph(nn.Module):
    """Two convolutions on a graph that is an input, without edges from nodes to themselves (Kipf and Welling 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        degrees = edges.sum(-1).rsqrt()
        edges = degrees[:, None] * edges * degrees
        return edges @ self.second((edges @ self.first(x)).relu())


class OfPairs(nn.Module):
    """A bilinear layer of two layers' units, and a tensor that contracts both with its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.both = nn.Linear(4, 5), nn.Linear(4, 6), nn.Bilinear(5, 6, 7)
        self.last = nn.Parameter(torch.rand(7, 3))

    def forward(self, x: Tensor) -> Tensor:
        pair = self.both(torch.relu(self.left(x)), torch.tanh(self.right(x)))
        return torch.tensordot(torch.relu(pair), self.last, dims=1)


class MostActive(nn.Module):
    """Units below the third largest are silent, and what is negative too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x[x < 0] = 0.0
        return self.last(x * (x >= x.topk(3).values[:, -1:]))
