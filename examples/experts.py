"""Mixtures of experts, which starcli knows none of by name: of images, and of texts token by token.

    starcli train --arch examples/experts.py:images --data digits --seeds 0,1 -o '{seed}.safetensors'
    starcli barrier 0.safetensors 1.safetensors --align weight --arch examples/experts.py:images

Each token goes to the two experts that a router scores highest (Shazeer et al. 2017), without a loss that would balance
them. `alignment.py`, beside this file, measures what is left of the barrier between two such networks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Experts(nn.Module):
    """The two best of E experts, each a layer of h hidden units, weighted by the router: (..., d) -> (..., d)."""

    def __init__(self, dim: int, hidden_dim: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(dim, experts)
        self.up = nn.Parameter(torch.randn(experts, dim, hidden_dim) / dim**0.5)
        self.up_bias = nn.Parameter(torch.zeros(experts, hidden_dim))
        self.down = nn.Parameter(torch.randn(experts, hidden_dim, dim) / hidden_dim**0.5)
        self.down_bias = nn.Parameter(torch.zeros(experts, dim))

    def forward(self, x: Tensor) -> Tensor:
        """All experts compute, as there are few; those that were not chosen have the weight 0."""
        scores = self.router(x).softmax(-1)
        best, which = scores.topk(2, -1)
        weights = torch.zeros_like(scores).scatter(-1, which, best)
        hidden = F.gelu(torch.einsum("...d,edh->...eh", x, self.up) + self.up_bias)
        made = torch.einsum("...eh,ehd->...ed", hidden, self.down) + self.down_bias
        return (made * weights.unsqueeze(-1)).sum(-2)


class Attention(nn.Module):
    """Causal attention of several heads, whose weights are an axis of their own."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        shape = (3, heads, dim, dim // heads)
        self.query, self.key, self.value = (nn.Parameter(each) for each in torch.randn(shape) / dim**0.5)
        self.out = nn.Parameter(torch.randn(heads, dim // heads, dim) / dim**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, length, dim) -> the same."""
        query, key, value = (torch.einsum("btd,hdk->bhtk", x, each) for each in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return torch.einsum("bhtk,hkd->btd", mixed, self.out)


class Added(nn.Module):
    """A layer behind a norm, added to what it reads."""

    def __init__(self, dim: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(dim), layer

    def forward(self, x: Tensor) -> Tensor:
        """Any (..., dim) that the layer takes -> the same."""
        return x + self.layer(self.norm(x))


class NextTokens(nn.Module):
    """Scores of the token after each."""

    def __init__(self, dim: int, layers: nn.Module, vocab_size: int, length: int) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(vocab_size, dim), nn.Parameter(torch.randn(length, dim) / 10)
        self.layers, self.norm, self.head = layers, nn.LayerNorm(dim), nn.Linear(dim, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding at the end -> (B, length, vocabulary)."""
        x = self.embed(tokens.clamp(min=0)) + self.places[: tokens.shape[1]]
        scores: Tensor = self.head(self.norm(self.layers(x)))
        return scores


def images(
    *,
    dim: int = 32, hidden_dim: int = 16, experts: int = 8, depth: int = 2,
    channels: int = 1, image_size: int = 8, num_classes: int = 10,
) -> nn.Module:  # fmt: skip
    """A mixture of experts of images."""
    layers = [Added(dim, Experts(dim, hidden_dim, experts)) for _ in range(depth)]
    first, last = nn.Linear(channels * image_size**2, dim), nn.Linear(dim, num_classes)
    return nn.Sequential(nn.Flatten(), first, *layers, nn.LayerNorm(dim), last)


def texts(
    *,
    dim: int = 32, hidden_dim: int = 32, experts: int = 4, heads: int = 4, depth: int = 2,
    vocab_size: int = 257, length: int = 64, next_token: bool = True,
) -> nn.Module:  # fmt: skip
    """A language model with a mixture of experts in each block."""
    blocks = [
        Added(dim, layer) for _ in range(depth) for layer in (Attention(dim, heads), Experts(dim, hidden_dim, experts))
    ]
    return NextTokens(dim, nn.Sequential(*blocks), vocab_size, length)
