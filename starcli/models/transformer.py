"""Parts of transformers: attention, feedforward layers, and blocks with their norms before or behind (Vaswani 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from starcli.models.arguments import activation_module


class Attention(nn.Module):
    """Self-attention. Rows of `qkv`: queries, keys, values, each head by head; columns of `proj`: head by head."""

    def __init__(self, dim: int, heads: int, dropout: float, causal: bool = False) -> None:
        """Divide `dim` units among `heads` heads; a `causal` one looks at no later token."""
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, tokens, dim) -> (B, tokens, dim); `mask` (B, 1, 1, tokens) is true for what may be looked at."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, tokens, units)
        out = self._attend(query, key, value, mask)
        result: Tensor = self.dropout(self.proj(out.transpose(1, 2).reshape(batch, tokens, dim)))
        return result

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What each token sees of the others: (B, heads, tokens, units)."""
        if query.requires_grad and query.dtype == torch.bfloat16 and query.device.type == "cpu":
            # a CPU's gradients of attention in bf16 take 1.0 to 5 times as long as in float32, the shorter the worse
            with torch.autocast("cpu", enabled=False):
                return self._attend(query.float(), key.float(), value.float(), mask).to(query.dtype)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=self.causal)


class Feedforward(nn.Module):
    """Two linear layers x -> W2 f(W1 x), with `mlp_dim` hidden units."""

    def __init__(self, dim: int, mlp_dim: int, dropout: float, activation: str) -> None:
        """Build the two layers."""
        super().__init__()
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.activation = activation_module(activation)
        self.fc2 = nn.Linear(mlp_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, tokens, dim) -> (B, tokens, dim)."""
        out: Tensor = self.dropout(self.fc2(self.activation(self.fc1(x))))
        return out


class PreNormBlock(nn.Module):
    """Block with its norms before: x -> x + attention(LN(x)), then x -> x + feedforward(LN(x))."""

    def __init__(
        self, dim: int, heads: int, mlp_dim: int, dropout: float, activation: str, causal: bool = False
    ) -> None:
        """Build attention, feedforward and their norms."""
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dropout, causal)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Feedforward(dim, mlp_dim, dropout, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, tokens, dim) -> (B, tokens, dim)."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PostNormBlock(nn.Module):
    """Block with its norms behind: x -> LN(x + attention(x)), then x -> LN(x + feedforward(x))."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float, activation: str) -> None:
        """Build attention, feedforward and their norms."""
        super().__init__()
        self.attn = Attention(dim, heads, dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = Feedforward(dim, mlp_dim, dropout, activation)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, tokens, dim) -> (B, tokens, dim); `mask` as of `Attention`."""
        x = self.norm1(x + self.attn(x, mask))
        out: Tensor = self.norm2(x + self.mlp(x))
        return out


def draw_linear_layers_(network: nn.Module) -> None:
    """Draw the weights of all linear layers after Glorot and Bengio 2010; their biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def misfit_of_heads(dim: int, heads: int) -> Sequence[str]:
    """A line for `heads` that do not divide `dim`; nothing for those that do."""
    return [f"heads: {heads} does not divide dim, {dim}"] if dim % heads else []
