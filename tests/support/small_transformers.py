"""Small language models of three kinds, written from their definitions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, DIM, HEADS, HIDDEN = 11, 8, 2, 5


class CausalAttention(nn.Module):
    """Attention of `heads` heads, `kv` of keys and values, with rotary positions or without."""

    def __init__(self, kv: int = HEADS, *, rotary: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.kv, self.rotary, self.units = kv, rotary, DIM // HEADS
        self.q = nn.Linear(DIM, DIM, bias=bias)
        self.k, self.v = (nn.Linear(DIM, kv * self.units, bias=bias) for _ in range(2))
        self.o = nn.Linear(DIM, DIM, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, -1, self.units).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.rotary:
            angles = torch.arange(t)[:, None] * 0.7 ** torch.arange(self.units // 2).repeat(2)
            q, k = ((each * angles.cos() + turned(each) * angles.sin()) for each in (q, k))
        k, v = (each.repeat_interleave(HEADS // self.kv, 1) for each in (k, v))
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(found.transpose(1, 2).reshape(b, t, DIM))


def turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


class SwiGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(DIM, HIDDEN, bias=False) for _ in range(2))
        self.down = nn.Linear(HIDDEN, DIM, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


def gelu_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DIM))


class LlamaLike(nn.Module):
    """Pre-norm with RMSNorm, rotary positions, grouped queries, SwiGLU, a head of its own."""

    def __init__(self, *, rotary: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.norm1, self.norm2, self.norm = RMSNorm(), RMSNorm(), RMSNorm()
        self.attention, self.mlp = CausalAttention(1, rotary=rotary, bias=False), SwiGLU()
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm(x))


class GPTLike(nn.Module):
    """Pre-norm with LayerNorm, learned positions, a head tied to the embedding unless told otherwise."""

    def __init__(self, *, tied: bool = True) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(VOCABULARY, DIM), nn.Parameter(torch.zeros(5, DIM))
        self.norm1, self.norm2, self.norm = (nn.LayerNorm(DIM) for _ in range(3))
        self.attention, self.mlp = CausalAttention(), gelu_layers()
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.positions
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm(x))


class BERTLike(nn.Module):
    """Post-norm: each LayerNorm's output is read by the next layers and by the next sum; a pooler with tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(DIM, eps=1e-12) for _ in range(3))
        self.attention, self.mlp = CausalAttention(), gelu_layers()
        self.pooler, self.head = nn.Linear(DIM, 6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm0(self.embed(tokens))
        x = self.norm1(x + self.attention(x))
        x = self.norm2(x + self.mlp(x))
        return self.head(self.pooler(x[:, 0]).tanh())


class CrossAttention(nn.Module):
    """Queries of one sequence, keys and values of another; relative positions as biases of each head, or none."""

    def __init__(self, *, bias: bool, length: int = 0, causal: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM, bias=bias) for _ in range(4))
        self.relative = nn.Parameter(torch.zeros(length, length, HEADS)) if length else None
        self.causal = causal

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        q, k, v = (
            f(each).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for f, each in ((self.q, x), (self.k, read), (self.v, read))
        )
        scores = q @ k.transpose(-1, -2)
        if self.relative is not None:
            scores = scores + self.relative.permute(2, 0, 1)
        if self.causal:
            scores = scores + torch.full(scores.shape[-2:], -1e4).triu(1)
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm block of an encoder, or of a decoder that reads what an encoder gives out."""

    def __init__(self, norm: type[nn.Module], feed: nn.Module, *, bias: bool, length: int, reads: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(), norm()
        self.own = CrossAttention(bias=bias, length=length, causal=reads)
        self.cross_norm, self.cross = (norm(), CrossAttention(bias=bias)) if reads else (None, None)
        self.feed = feed

    def forward(self, x: Tensor, encoded: Tensor | None = None) -> Tensor:
        x = x + self.own(self.norm1(x), self.norm1(x))
        if self.cross is not None and self.cross_norm is not None and encoded is not None:
            x = x + self.cross(self.cross_norm(x), encoded)
        return x + self.feed(self.norm2(x))


def relu_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(DIM, HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, DIM, bias=False))


class T5Like(nn.Module):
    """RMSNorm, relative positions, ReLU, one embedding for encoder and decoder, a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCABULARY, DIM), nn.Linear(DIM, VOCABULARY, bias=False)
        self.encoder = Layer(RMSNorm, relu_layers(), bias=False, length=5, reads=False)
        self.decoder = Layer(RMSNorm, relu_layers(), bias=False, length=5, reads=True)
        self.encoded, self.decoded = RMSNorm(), RMSNorm()

    def forward(self, tokens: Tensor, answers: Tensor) -> Tensor:
        encoded = self.encoded(self.encoder(self.embed(tokens)))
        return self.head(self.decoded(self.decoder(self.embed(answers), encoded)))


def layer_norm() -> nn.Module:
    return nn.LayerNorm(DIM)


class WhisperLike(nn.Module):
    """Sound through two convolutions with GELU into an encoder with LayerNorm; a decoder with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(3, 6, 3, padding=1), nn.Conv1d(6, DIM, 3, stride=2, padding=1)
        self.sound, self.places = nn.Parameter(torch.zeros(4, DIM)), nn.Parameter(torch.zeros(5, DIM))
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.encoder = Layer(layer_norm, gelu_layers(), bias=True, length=0, reads=False)
        self.decoder = Layer(layer_norm, gelu_layers(), bias=True, length=0, reads=True)
        self.encoded, self.decoded = layer_norm(), layer_norm()

    def forward(self, sound: Tensor, tokens: Tensor) -> Tensor:
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(sound)))).transpose(1, 2)
        encoded = self.encoded(self.encoder(x + self.sound))
        x = self.decoded(self.decoder(self.embed(tokens) + self.places, encoded))
        return functional.linear(x, self.embed.weight)
