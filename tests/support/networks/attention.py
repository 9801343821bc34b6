"""Small networks with attention or token mixing, at which tracers stumble."""

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


class NormalisedSum(nn.Module):
    """Linear attention: a one beside the values of each head gathers the sum of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 3 * 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        sums = F.relu(q) @ (F.relu(k).transpose(-1, -2) @ F.pad(v, (0, 1), value=1.0))
        return self.out((sums[..., :-1] / (sums[..., -1:] + 1e-3)).transpose(1, 2).flatten(2))


class EncoderDecoder(nn.Module):
    """PyTorch's own transformer: 12 units in each of two streams, four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target, self.last = nn.Linear(5, 12), nn.Linear(5, 12), nn.Linear(12, 3)
        self.both = nn.Transformer(12, 4, 1, 1, 16, 0.0, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.last(self.both(self.source(source), self.target(target)))


class InParts(nn.Module):
    """Three layers whose weights are parts of one tensor; two of them read other units than the first, or the same."""

    def __init__(self, *, other: bool) -> None:
        super().__init__()
        self.first, self.other, self.last = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(4, 3)
        self.weight, self.reads_other = nn.Parameter(torch.randn(12, 6)), other

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.first(x).relu(), self.other(x).tanh()
        two = two if self.reads_other else one + two
        up, gates = self.weight[:4], self.weight[4:].chunk(2)
        return self.last(F.linear(one, up) * F.linear(two, gates[0]).sigmoid() * F.linear(two, gates[1]).tanh())
