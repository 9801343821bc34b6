"""Networks of lists of modules: experts of which each sees just what chose it, and attention head by head.

    starcli train --arch examples/module_lists.py:images --data digits --seeds 0,1 -o '{seed}.safetensors'
    starcli barrier 0.safetensors 1.safetensors --align weight --arch examples/module_lists.py:images

Such code is in many tutorials and papers. Members of a list that do the same may change places, which moves values from
one tensor to another; starcli finds that out. `alignment.py`, beside this file, measures what is left of the barrier
between two such networks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Experts(nn.Module):
    """The two best of E experts, weighted by the router: (N, d) -> (N, d). Each is given the rows that chose it."""

    def __init__(self, dim: int, hidden_dim: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Rows that are computed with, expert by expert, and put where they came from."""
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows, nth = torch.where(chosen == number)
            if len(rows):
                mixed.index_add_(0, rows, weights[rows, nth, None] * expert(x[rows]))
        return mixed


class Head(nn.Module):
    """One head of causal attention, (B, length, d) -> (B, length, d / heads)."""

    def __init__(self, dim: int, size: int, length: int) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(dim, size, bias=False) for _ in range(3))
        self.register_buffer("past", torch.tril(torch.ones(length, length)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Each token looks at those before it."""
        n = x.shape[1]
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * self.key.out_features**-0.5
        mixed: Tensor = scores.masked_fill(self.past[:n, :n] == 0, -torch.inf).softmax(-1) @ self.value(x)
        return mixed


class Block(nn.Module):
    """A block of a language model: what all heads say, side by side, then hidden units."""

    def __init__(self, dim: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(dim, dim // heads, length) for _ in range(heads))
        self.joined, self.hidden = nn.Linear(dim, dim), nn.Linear(dim, 4 * dim)
        self.back, self.first, self.second = nn.Linear(4 * dim, dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, length, dim) -> the same."""
        normal = self.first(x)
        x = x + self.joined(torch.cat([head(normal) for head in self.heads], -1))
        moved: Tensor = x + self.back(F.relu(self.hidden(self.second(x))))
        return moved


class Added(nn.Module):
    """A layer behind a norm, added to what it reads."""

    def __init__(self, dim: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(dim), layer

    def forward(self, x: Tensor) -> Tensor:
        """Any (N, dim) -> the same."""
        added: Tensor = x + self.layer(self.norm(x))
        return added


class NextTokens(nn.Module):
    """Scores of the token after each."""

    def __init__(self, dim: int, blocks: nn.Module, vocab_size: int, length: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocab_size, dim), nn.Embedding(length, dim)
        self.blocks, self.norm, self.head = blocks, nn.LayerNorm(dim), nn.Linear(dim, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding at the end -> (B, length, vocabulary)."""
        x = self.token(tokens.clamp(min=0)) + self.place(torch.arange(tokens.shape[1], device=tokens.device))
        scores: Tensor = self.head(self.norm(self.blocks(x)))
        return scores


def images(
    *,
    dim: int = 32, hidden_dim: int = 16, experts: int = 8, depth: int = 2,
    channels: int = 1, image_size: int = 8, num_classes: int = 10,
) -> nn.Module:  # fmt: skip
    """A mixture of experts of images, each expert a module."""
    layers = [Added(dim, Experts(dim, hidden_dim, experts)) for _ in range(depth)]
    first, last = nn.Linear(channels * image_size**2, dim), nn.Linear(dim, num_classes)
    return nn.Sequential(nn.Flatten(), first, *layers, nn.LayerNorm(dim), last)


def texts(
    *, dim: int = 32, heads: int = 4, depth: int = 2, vocab_size: int = 257, length: int = 64, next_token: bool = True
) -> nn.Module:
    """A language model with each head a module."""
    return NextTokens(dim, nn.Sequential(*(Block(dim, heads, length) for _ in range(depth))), vocab_size, length)
