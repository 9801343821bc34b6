"""Small networks of linear and recurrent layers, tied, gated, joined or cached, at which tracers stumble."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(9, 5)), nn.Parameter(torch.rand(9))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(F.linear(x, self.weight, self.bias)), self.weight.t())


class Recurrent(nn.Module):
    """One layer used three times: what comes out of it goes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        for _ in range(3):
            h = torch.tanh(self.again(h))
        return self.last(h)


class Gated(nn.Module):
    """A gated layer from one fused projection, squeeze-excitation and layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.fused, self.down, self.up = nn.Linear(4, 14), nn.Linear(7, 3), nn.Linear(3, 7)
        self.scale, self.last = nn.Parameter(torch.rand(7)), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.glu(self.fused(x))
        h = h + self.scale * h * torch.sigmoid(self.up(F.relu(self.down(h))))
        return self.last(h)


class Halves(nn.Module):
    """Two halves of one layer, normalised apart and never told apart again: the halves change places as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 10), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, -1)
        return self.last(torch.cat([F.layer_norm(a, (5,)), F.layer_norm(b, (5,))], -1))


class Unknown(nn.Module):
    """One operator that no rule knows, between two layers, and an honest layer behind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.linalg.pinv(self.first(x)).mT
        return self.last(torch.relu(self.second(h)))


class Aggregated(nn.Module):
    """Layers along a residual stream and one beside it, gathered (DLA): the stream stands there twice."""

    def __init__(self):
        super().__init__()
        self.up, self.inner, self.beside = nn.Linear(4, 8), nn.Linear(8, 5), nn.Linear(8, 6)
        self.back, self.down = nn.Linear(5, 8), nn.Linear(22, 3)

    def forward(self, x):
        early = self.up(x).relu()
        late = early + self.back(self.inner(early).relu())
        return self.down(torch.cat([late, early, self.beside(early)], -1).tanh())


class Layered(nn.Module):
    """Two recurrent layers in two directions, read at all times and at the last."""

    def __init__(self, kind: str, **arguments: object) -> None:
        super().__init__()
        self.up = nn.Linear(3, 5)
        self.cells = getattr(nn, kind)(5, 4, num_layers=2, batch_first=True, **arguments)
        width = 8 if self.cells.bidirectional else 4
        self.down, self.last = nn.Linear(width, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, ends = self.cells(F.relu(self.up(x)))
        return self.down(states).mean(1) + self.last((ends[0] if isinstance(ends, tuple) else ends)[-1])


class Stepped(nn.Module):
    """A recurrent network of single steps in a loop: an LSTM below a GRU."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(3, 5, bias=bias), nn.GRUCell(5, 4, bias=bias)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        lower, upper = None, x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            lower = self.lstm(step, lower)
            upper = self.gru(lower[0], upper)
        return self.last(upper)


class PlainCell(nn.Module):
    """An RNNCell, whose first state is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last, self.start = (
            nn.RNNCell(3, 6, nonlinearity="relu"),
            nn.Linear(6, 2),
            nn.Parameter(torch.rand(6)),
        )

    def forward(self, x: Tensor) -> Tensor:
        state = self.start.expand(len(x), 6)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.last(state)


class Tables(nn.Module):
    """Constants that no checkpoint has: zeros for a bias, and a table that tells the units of the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)
        self.register_buffer("zeros", torch.zeros(6), persistent=False)
        self.register_buffer("table", torch.arange(5.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(F.relu(self.first(x) + self.zeros)) + self.table))


class Retyped(nn.Module):
    """Values that lend another tensor their type, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), self.second(x)
        return self.last(torch.cat([F.relu(a).type_as(b), torch.tanh(b)], -1))


class Unnormalised(nn.Module):
    """A deep residual stream that nothing holds back."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)
        self.up = nn.ModuleList(nn.Linear(6, 7) for _ in range(24))
        self.down = nn.ModuleList(nn.Linear(7, 6) for _ in range(24))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(F.relu(up(x)))
        return self.last(x)


class Cached(nn.Module):
    """Keeps what it computed from its weights until it is told to train (timm's tables of relative positions)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)
        self.scale = nn.Parameter(torch.ones(6))
        self.kept: Tensor | None = None

    def train(self, mode: bool = True) -> "Cached":
        self.kept = None if mode else self.kept
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.kept is None:
            self.kept = self.scale.exp()
        return self.last(F.relu(self.first(x)) * self.kept)


class Masked(nn.Module):
    """Outputs of which each sees the inputs before it, by masks; 12 hidden units have degrees (Germain et al. 2015)."""

    def __init__(self, degrees: Tensor) -> None:
        super().__init__()
        inputs = torch.arange(4)
        seen = inputs <= degrees[:, None], degrees <= degrees[:, None], degrees < inputs[:, None]
        self.layers = nn.ModuleList(nn.Linear(mask.shape[1], mask.shape[0]) for mask in seen)
        for layer, mask in zip(self.layers, seen, strict=True):
            layer.register_buffer("mask", mask.float())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = nn.functional.linear(x.relu(), layer.mask * layer.weight, layer.bias)
        return x
