"""Small networks of less usual kinds, each with layers `first` and so on of units that can be counted by hand."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class ClampedGates(nn.Module):
    """A gated unit whose gates and values stand in turns, between bounds of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 12), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = self.first(x)
        return self.last(F.silu(both[..., ::2].clamp(max=7)) * (both[..., 1::2].clamp(-7, 7) + 1))


class MixtureOfSoftmaxes(nn.Module):
    """Four softmaxes over three classes, averaged by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(5, 6), nn.Linear(6, 4)
        self.latent, self.last = nn.Linear(6, 4 * 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).tanh()
        each = self.last(self.latent(x).tanh().unflatten(-1, (4, 7))).softmax(-1)  # (N, 4, 3)
        return (self.gate(x).softmax(-1)[..., None] * each).sum(-2).log()


class Enlarged(nn.Module):
    """Images made larger from channels, and smaller again into channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 1), nn.Conv2d(5 * 4, 6 * 4, 1)
        self.third, self.last = nn.Conv2d(6, 7, 3), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(F.pixel_unshuffle(self.first(x).relu(), 2))
        return self.last(self.third(F.pixel_shuffle(x, 2).relu()).relu().mean((2, 3)))


class Painted(nn.Module):
    """Images out of vectors, by a layer whose units are made channels of four positions each, with a norm of all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(5, 6 * 4), nn.BatchNorm1d(6 * 4)
        self.second, self.third = nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.Conv2d(4, 5, 3)
        self.last = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu().unflatten(1, (6, 2, 2))
        return self.last(self.third(self.second(x).relu()).tanh())


class Kernels(nn.Module):
    """Attention without a softmax, by sums of products of positive keys with values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        q, k, v = (layer(x).unflatten(-1, (2, 4)) for layer in (self.q, self.k, self.v))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        mixed = torch.einsum("nthd,nhde->nthe", q, torch.einsum("nthd,nthe->nhde", k, v))
        sums = torch.einsum("nthd,nhd->nth", q, k.sum(1)) + 1e-6
        return self.last((x + self.out((mixed / sums[..., None]).flatten(2))).mean(1))


class OnGrids(nn.Module):
    """Functions of each edge between units, on a grid of bumps (a Kolmogorov-Arnold network)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.randn(6, 5, 4)), nn.Parameter(torch.randn(3, 6, 4))
        self.register_buffer("grid", torch.linspace(-1, 1, 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for weight in (self.first, self.last):
            x = torch.einsum("nig,oig->no", torch.exp(-4 * (x[..., None] - self.grid) ** 2), weight)
        return x


class Reflected(nn.Module):
    """Two reflections of the same units, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.normals = nn.Linear(5, 6), nn.Linear(6, 3), nn.Parameter(torch.randn(2, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for normal in self.normals:
            x = x - 2 * (x @ normal)[:, None] * normal / (normal @ normal)
        return self.last(x.tanh())


class Rotated(nn.Module):
    """An orthogonal matrix of a skew one (Cayley), and a weight without connections of units with themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)
        self.weight, self.other = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        skew, one = self.weight - self.weight.T, torch.eye(6).to(x)
        x = self.first(x) @ torch.linalg.solve(one + skew, one - skew)
        return self.last(x.tanh() @ (self.other * (1 - one)))


class PairsOfLayers(nn.Module):
    """Three layers beside each other, and the products of each pair of them (Naumov et al. 2019, DLRM)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(5, 6) for _ in range(3))
        self.second, self.last = nn.Linear(18 + 3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        layers = torch.cat([self.one(x).relu(), self.two(x).tanh(), self.three(x)], 1).view(len(x), 3, 6)
        rows, columns = torch.triu_indices(3, 3, 1)
        pairs = (layers @ layers.mT)[:, rows, columns]
        return self.last(self.second(torch.cat([layers.flatten(1), pairs], 1)).relu())


class Adapted(nn.Module):
    """A weight with a product of two narrow ones added (LoRA), under a spectral norm by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.weight, self.last = nn.Linear(5, 6), nn.Parameter(torch.randn(4, 6)), nn.Linear(4, 3)
        self.up, self.down = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 6))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + self.up @ self.down / 2
        return self.last(F.linear(self.first(x).tanh(), weight / torch.linalg.matrix_norm(weight, 2)).tanh())


class Slots(nn.Module):
    """Slots that compete for tokens, twice, each updated by a recurrent cell."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.slots = nn.Linear(5, 6), nn.Parameter(torch.randn(4, 8))
        self.q, self.k, self.v = nn.Linear(8, 7), nn.Linear(6, 7), nn.Linear(6, 9)
        self.cell, self.last = nn.GRUCell(9, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        slots = self.slots.expand(len(x), -1, -1)
        for _ in range(2):
            seen = (self.k(x) @ self.q(slots).mT).softmax(-1)  # (N, tokens, slots)
            update = seen.mT @ self.v(x)
            slots = self.cell(update.flatten(0, 1), slots.flatten(0, 1)).unflatten(0, (len(x), -1))
        return self.last(slots.amax(1))


class MadeWeights(nn.Module):
    """A layer whose weights another network makes, and whose units a third one scales and shifts."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.weights, self.affine = nn.Linear(5, 7), nn.Linear(7, 6 * 5), nn.Linear(7, 12)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        made = self.hidden(x).relu()
        scale, shift = self.affine(made).chunk(2, -1)
        units = torch.einsum("nij,nj->ni", self.weights(made).unflatten(-1, (6, 5)), x)
        return self.last((units * (1 + scale) + shift).relu())


class Decaying(nn.Module):
    """A scan: what each unit holds decays by its own rate and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 3)
        self.rate, self.norm = nn.Parameter(torch.randn(6)), nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        new, gate, held, all_held = self.first(x), self.gate(x).sigmoid(), torch.zeros(len(x), 6).type_as(x), []
        for step in range(x.shape[1]):
            held = held * torch.exp(-F.softplus(self.rate) * gate[:, step]) + new[:, step]
            all_held.append(held)
        return self.last(self.norm(torch.stack(all_held, 1).mT).mean(-1))


class Complex(nn.Module):
    """Two layers of complex weights, kept as pairs of real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(6, 5))
        self.second, self.last = nn.Parameter(torch.randn(4, 6, 2)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.complex(self.real, self.imaginary)
        units = x.to(weight.dtype) @ weight.T
        units = torch.complex(units.real.tanh(), units.imag.tanh())
        return self.last((units @ torch.view_as_complex(self.second).T).abs())


class Largest(nn.Module):
    """A look-up by which unit is largest, and maxima over parts of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.table, self.parts = nn.Linear(5, 6), nn.Embedding(6, 7), nn.Linear(5, 7 * 4)
        self.last = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.table(self.first(x).argmax(-1)).tanh() + self.parts(x).unflatten(-1, (7, 4)).amax(-1))
