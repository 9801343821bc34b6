"""Small networks with the structures at which tracers stumble, written for the tests of `starcli.derive`."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Llama(nn.Module):
    """One block: RMSNorm, rotary positions, grouped-query attention, SwiGLU, a head tied to the embedding."""

    def __init__(self, width: int = 24, heads: int = 6, shared: int = 2, unit: int = 4, hidden: int = 10) -> None:
        super().__init__()
        self.heads, self.shared, self.unit = heads, shared, unit
        self.embed = nn.Embedding(11, width)
        self.norm1, self.norm2, self.norm3 = RMSNorm(width), RMSNorm(width), RMSNorm(width)
        self.q = nn.Linear(width, heads * unit, bias=False)
        self.k = nn.Linear(width, shared * unit, bias=False)
        self.v = nn.Linear(width, shared * unit, bias=False)
        self.o = nn.Linear(heads * unit, width, bias=False)
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.embed.weight

    def rotated(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[-2])[:, None] * 0.1 ** (torch.arange(self.unit // 2) / self.unit)
        cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        batch, length, _ = x.shape
        h = self.norm1(x)
        q, k, v = (f(h).view(batch, length, -1, self.unit).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self.rotated(q), self.rotated(k)
        k, v = (each[:, :, None].expand(-1, -1, self.heads // self.shared, -1, -1).reshape(q.shape) for each in (k, v))
        scores = q @ k.transpose(-1, -2) / self.unit**0.5
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
        x = x + self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1))
        h = self.norm2(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return self.head(self.norm3(x))


class CrossAttention(nn.Module):
    """A stream that looks at another of a different width; queries of the one, keys and values of the other."""

    def __init__(self, width: int = 12, other: int = 10, heads: int = 3, unit: int = 4) -> None:
        super().__init__()
        self.heads, self.unit = heads, unit
        self.left, self.right = nn.Linear(5, width), nn.Linear(7, other)
        self.q = nn.Linear(width, heads * unit)
        self.kv = nn.Linear(other, 2 * heads * unit, bias=False)
        self.o, self.norm, self.head = nn.Linear(heads * unit, width), nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x, y = self.left(a), self.right(b)
        q = self.q(x).unflatten(-1, (self.heads, self.unit)).transpose(1, 2)
        k, v = self.kv(y).unflatten(-1, (2, self.heads, self.unit)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.head(self.norm(x + self.o(seen.transpose(1, 2).flatten(2))))


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


class Mixer(nn.Module):
    """Token mixing and channel mixing on one stream."""

    def __init__(self, tokens: int = 9, width: int = 8) -> None:
        super().__init__()
        self.patch, self.norm1, self.norm2 = nn.Conv2d(2, width, 2, stride=2), nn.LayerNorm(width), nn.LayerNorm(width)
        self.token1, self.token2 = nn.Linear(tokens, 6), nn.Linear(6, tokens)
        self.channel1, self.channel2 = nn.Linear(width, 10), nn.Linear(10, width)
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.token2(F.gelu(self.token1(self.norm1(x).transpose(1, 2)))).transpose(1, 2)
        x = x + self.channel2(F.gelu(self.channel1(self.norm2(x))))
        return self.last(x.mean(1))


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


class ShuffledOnce(nn.Module):
    """A channel shuffle between two layers that know no groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2))


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
        h = torch.fft.rfft(self.first(x), n=10).real
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


class NormalisedSum(nn.Module):
    """Linear attention: a one beside the values of each head gathers the sum of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 3 * 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        sums = F.relu(q) @ (F.relu(k).transpose(-1, -2) @ F.pad(v, (0, 1), value=1.0))
        return self.out((sums[..., :-1] / (sums[..., -1:] + 1e-3)).transpose(1, 2).flatten(2))


class Unfolded(nn.Module):
    """Windows cut out, changed unit by unit and laid together again (outlook attention)."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.inner, self.down = nn.Conv2d(2, 6, 1), nn.Linear(6, 6), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.unfold(self.up(x), 3, padding=1)
        h = self.inner(h.unflatten(1, (6, 9)).transpose(1, -1)).transpose(1, -1).flatten(1, 2)
        return self.down(F.fold(h, x.shape[2:], 3, padding=1))


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


class Folded(nn.Module):
    """Space folded into channels before a convolution: each of the four positions stays another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(8, 5, 3, padding=1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(-1, (3, 2)).unflatten(2, (3, 2)).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
        return self.last(F.relu(self.first(x)))
