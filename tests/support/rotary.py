"""Decoders of one layer with rotary positions as networks have them, written from their definitions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM, UNITS, WORDS = 8, 4, 11


def angles(length: int, pairs: int) -> Tensor:
    return torch.arange(length)[:, None] * 0.7 ** torch.arange(pairs)


def by_halves(x: Tensor) -> Tensor:
    """Units i and i + n / 2 are a pair, as in Hugging Face's `rotate_half`."""
    a = angles(x.shape[-2], x.shape[-1] // 2).repeat(1, 2)
    first, second = x.chunk(2, -1)
    return x * a.cos() + torch.cat([-second, first], -1) * a.sin()


def by_neighbours(x: Tensor) -> Tensor:
    """Units 2 i and 2 i + 1 are a pair, as in GPT-J."""
    a = angles(x.shape[-2], x.shape[-1] // 2)
    first, second = x[..., ::2], x[..., 1::2]
    turned = first * a.cos() - second * a.sin(), first * a.sin() + second * a.cos()
    return torch.stack(turned, -1).flatten(-2)


def as_complex(x: Tensor) -> Tensor:
    """The same by complex numbers, as in Meta's Llama."""
    numbers = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    a = angles(x.shape[-2], x.shape[-1] // 2).to(x.dtype)
    return torch.view_as_real(numbers * torch.polar(torch.ones_like(a), a)).flatten(-2)


def partly(x: Tensor) -> Tensor:
    """Half of the units have positions, as in GPT-NeoX and Phi."""
    n = x.shape[-1] // 2
    return torch.cat([by_halves(x[..., :n]), x[..., n:]], -1)


class Decoder(nn.Module):
    """Attention of `heads` heads, `kv` of keys and values, behind an embedding.

    fused: one weight for queries, keys and values: "sections" one after the other, "heads" in turns of heads (as in
    GPT-NeoX); `norm` normalises queries and keys before they are rotated.
    """

    def __init__(self, rotate=by_halves, heads=4, kv=2, units=UNITS, fused="", bias=True, norm="") -> None:
        super().__init__()
        self.rotate, self.heads, self.kv, self.fused = rotate, heads, kv, fused
        self.embed, self.mix = nn.Embedding(WORDS, DIM), nn.Linear(DIM, DIM)
        if fused:
            self.qkv = nn.Linear(DIM, 3 * heads * units, bias=bias)
        else:
            self.q = nn.Linear(DIM, heads * units, bias=bias)
            self.k, self.v = (nn.Linear(DIM, kv * units, bias=bias) for _ in range(2))
        self.o, self.head = nn.Linear(heads * units, DIM), nn.Linear(DIM, 3)
        norms = {"weight": True, "plain": False}
        self.norms = nn.ModuleList(
            nn.RMSNorm(units, eps=1e-6, elementwise_affine=norms[norm]) for _ in range(2 if norm else 0)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = functional.gelu(self.mix(self.embed(tokens)))
        if self.fused == "sections":
            q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        elif self.fused:
            q, k, v = self.qkv(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = (f(x).unflatten(-1, (n, -1)).transpose(1, 2) for f, n in self.linears())
        q, k = (norm(each) for norm, each in zip(self.norms, (q, k), strict=True)) if self.norms else (q, k)
        q, k = self.rotate(q), self.rotate(k)
        k, v = (each.repeat_interleave(q.shape[1] // each.shape[1], 1) for each in (k, v))
        scores = (q @ k.transpose(-1, -2)).softmax(-1)
        return self.head(x + self.o((scores @ v).transpose(1, 2).flatten(2)))

    def linears(self) -> list[tuple[nn.Module, int]]:
        return [(self.q, self.heads), (self.k, self.kv), (self.v, self.kv)]
