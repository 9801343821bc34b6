"""Small networks of published kinds, in the style in which they are often written."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class WaveNet(nn.Module):
    """Gated residual layers; what the last adds to the stream, nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Conv1d(5, 6, 1), nn.Conv1d(7, 3, 1)
        self.filters = nn.ModuleList(nn.Conv1d(6, 5, 2, dilation=each) for each in (1, 2))
        self.gates = nn.ModuleList(nn.Conv1d(6, 5, 2, dilation=each) for each in (1, 2))
        self.residuals = nn.ModuleList(nn.Conv1d(5, 6, 1) for _ in range(2))
        self.skips = nn.ModuleList(nn.Conv1d(5, 7, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x, skipped = self.start(x.mT), torch.zeros(1)
        for filtered, gate, residual, skip in zip(self.filters, self.gates, self.residuals, self.skips, strict=True):
            z = filtered(x).tanh() * gate(x).sigmoid()
            skipped = skip(z)[..., -3:] + skipped
            x = residual(z) + x[..., -z.shape[-1] :]
        return self.end(skipped.relu()).mean(-1)


class NeuralODE(nn.Module):
    """Steps of Euler's method on a field that sees the time beside all units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)
        self.field = nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for step in range(3):
            x = x + self.field(torch.cat([x, torch.ones_like(x[:, :1]) * step / 3], 1)) / 3
        return self.last(x)


class VectorQuantised(nn.Module):
    """An autoencoder whose codes are the nearest of a table, read by a product with one-hot rows."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.table = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4)), nn.Embedding(7, 4)
        self.decode = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        z, codes = self.encode(x), self.table.weight
        distances = (z**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * z @ codes.t()
        nearest = distances.argmin(1).unsqueeze(1)
        rows = torch.zeros(len(x), 7, device=x.device).to(x)
        rows.scatter_(1, nearest, 1)
        return self.decode(z + (rows @ codes - z).detach())


class HyperNetwork(nn.Module):
    """A network all of whose weights another one gives in a single vector."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.hidden = nn.Parameter(torch.randn(4)), nn.Linear(4, 7)
        self.weights = nn.Linear(7, 6 * 5 + 6 + 3 * 6 + 3)

    def forward(self, x: Tensor) -> Tensor:
        first, bias, second, last = self.weights(self.hidden(self.code).tanh()).split([30, 6, 18, 3])
        return F.linear(F.linear(x, first.view(6, 5), bias).relu(), second.view(3, 6), last)


class SetAttention(nn.Module):
    """Induced points that attend to a set, heads laid one behind the other among examples (Set Transformer)."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.last = nn.Parameter(torch.randn(1, 3, 5)), nn.Linear(8, 3)
        self.q, self.k, self.v, self.out = (nn.Linear(n, 8) for n in (5, 5, 5, 8))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(self.points.repeat(len(x), 1, 1)), self.k(x), self.v(x)
        q, k, v = (torch.cat(each.split(4, 2), 0) for each in (q, k, v))
        mixed = q + torch.softmax(q.bmm(k.transpose(1, 2)) / math.sqrt(8), 2).bmm(v)
        mixed = self.norm(torch.cat(mixed.split(len(x), 0), 2))
        return self.last((mixed + self.out(mixed).relu()).sum(1))


class Maxout(nn.Module):
    """Units that are the largest of three pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.stack(self.first(x).chunk(3, 1)).max(0)[0])


class DiagonalStateSpace(nn.Module):
    """A convolution as long as the sequence, whose kernels are sums over the states of each unit (S4D)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.step = nn.Linear(5, 6), nn.Linear(6, 3), nn.Parameter(torch.rand(6) - 3)
        self.c = nn.Parameter(torch.randn(6, 4, 2))
        self.decay, self.frequency = nn.Parameter(torch.zeros(6, 4)), nn.Parameter(torch.arange(4.0).repeat(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).mT
        n, step, a = x.shape[-1], self.step.exp(), -self.decay.exp() + 1j * self.frequency
        steps = a * step.unsqueeze(-1)
        c = torch.view_as_complex(self.c) * (steps.exp() - 1) / a
        powers = (steps.unsqueeze(-1) * torch.arange(n)).exp()
        kernel = 2 * torch.einsum("hn,hnl->hl", c, powers).real
        y = torch.fft.irfft(torch.fft.rfft(x, n=2 * n) * torch.fft.rfft(kernel, n=2 * n), n=2 * n)[..., :n]
        return self.last((y + x).tanh().mean(-1))


class Shifted(nn.Module):
    """Two channels shifted to the left, two to the right, the others as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 7, 1), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        shifted = torch.zeros_like(x)
        shifted[:, :2, :, :-1] = x[:, :2, :, 1:]
        shifted[:, 2:4, :, 1:] = x[:, 2:4, :, :-1]
        shifted[:, 4:] = x[:, 4:]
        return self.last(self.second(shifted).relu().mean((2, 3)))


class Heads(nn.Module):
    """A block of two heads of four units each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.qkv, self.out, self.last = (nn.Linear(*n) for n in ((5, 8), (8, 24), (8, 8), (8, 3)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        return self.last((x + self.out(self.mixed(q, k, v).transpose(1, 2).flatten(2))).mean(1))


class Performer(Heads):
    """Queries and keys are projected by one random matrix of the network's own, which knows their units."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(6, 4))

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = (F.elu(each @ self.projection.t()) + 1 for each in (q, k))
        context = torch.einsum("...nd,...ne->...de", k, v)
        return torch.einsum("...de,...nd,...n->...ne", context, q, 1 / torch.einsum("...nd,...d->...n", q, k.sum(-2)))


class ConvolvedValues(Heads):
    """Beside attention, the values of each head are convolved along the sequence alone (Nystromformer)."""

    def __init__(self) -> None:
        super().__init__()
        self.along = nn.Conv2d(2, 2, (3, 1), padding=(1, 0), groups=2, bias=False)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1) @ v + self.along(v)


class OfKronecker(nn.Module):
    """A layer whose weights are the Kronecker product of two small matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = nn.Linear(5, 6), nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 3))
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.linear(self.first(x).relu(), torch.kron(self.a, self.b)).tanh())


class DifferentialAttention(nn.Module):
    """Two heads, each the difference of two maps of attention, whose queries are halves of one layer's units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.out = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(6, 8)
        self.q, self.k, self.v = (nn.Linear(8, n, bias=False) for n in (16, 16, 6))
        self.share = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        q, k, v = (
            layer(x).unflatten(-1, (n, -1)).transpose(1, 2)
            for layer, n in zip((self.q, self.k, self.v), (4, 4, 2), strict=True)
        )
        maps = (q @ k.mT / 2).softmax(-1).unflatten(1, (2, 2))
        mixed = (maps[:, :, 0] - self.share * maps[:, :, 1]) @ v
        return self.last((x + self.out(mixed.transpose(1, 2).flatten(2))).mean(1))


class WithBuffers(nn.Module):
    """A layer with a mask of its weights, for pruning, and statistics of its units that have a name of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Parameter(torch.randn(4, 6)), nn.Linear(4, 3)
        self.register_buffer("mask", torch.ones(4, 6))
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.linear((self.first(x) - self.mean).tanh(), self.second * self.mask).tanh())


class OnGraph(nn.Module):
    """Layers between neighbours of a graph, whose degrees normalise it: roots of negative ones would be no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, joined: Tensor) -> Tensor:
        joined = joined + torch.eye(len(joined))
        scale = joined.sum(-1) ** -0.5
        joined = scale[:, None] * joined * scale
        return self.last((joined @ self.second((joined @ self.first(x)).relu())).relu().mean(0))


class Ensemble(nn.Module):
    """The mean of four networks in stacks of weights, to which a bias of each is added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bias = nn.Parameter(torch.randn(4, 5, 6)), nn.Parameter(torch.randn(4, 1, 6))
        self.second, self.last = nn.Parameter(torch.randn(4, 6, 3)), nn.Parameter(torch.randn(4, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.baddbmm(self.bias, x.expand(4, -1, -1), self.first).relu()
        return torch.baddbmm(self.last, hidden, self.second).mean(0)


class PointTransforms(nn.Module):
    """Units of points, multiplied by matrices near the identity that all points made (Qi et al. 2017, PointNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 3)
        self.made = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6 * 6))
        self.more = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 7 * 7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        matrix = self.made(x.amax(1)) + torch.eye(6).view(1, 36).repeat(len(x), 1)
        x = self.second(x @ matrix.view(-1, 6, 6)).relu()
        matrix = self.more(x.amax(1)).view(-1, 7, 7) + torch.eye(7)
        return self.last((x @ matrix).relu().amax(1))


class BilinearPooling(nn.Module):
    """All products of two channels, averaged over an image (Lin et al. 2015), under a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 6, 3), nn.LayerNorm(36), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu().flatten(2)
        x = (x @ x.mT / x.shape[-1]).flatten(1)
        return self.last(self.norm(x.sign() * (x.abs() + 1e-5).sqrt()))


class GramOfHeads(nn.Module):
    """All products of two units of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 12), nn.Linear(3 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).tanh().unflatten(-1, (3, 4))
        return self.last(torch.einsum("nhi,nhj->nhij", x, x).flatten(1))
