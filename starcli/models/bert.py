"""Encoder of texts in the manner of BERT (Devlin et al. 2019): post-norm, learned positions, a pooler, fused qkv."""

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.arguments import Activation, Count, Depth, Rate, Width
from starcli.models.transformer import PostNormBlock, draw_linear_layers_, misfit_of_heads


class BERT(nn.Module):
    """Tokens through `depth` blocks; the head reads tanh of a linear layer (the pooler) of a text's first token."""

    def __init__(
        self,
        vocab_size: int,
        length: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        dropout: float,
        activation: str,
        num_classes: int,
    ) -> None:
        """Arguments as of `bert`."""
        super().__init__()
        self.token_embed = nn.Embedding(vocab_size, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, length, dim))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(PostNormBlock(dim, heads, mlp_dim, dropout, activation) for _ in range(depth))
        self.pooler = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, num_classes)
        nn.init.normal_(self.token_embed.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        draw_linear_layers_(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding, -> logits (B, num_classes)."""
        mask = (tokens >= 0)[:, None, None, :]
        x = self.dropout(self.norm(self.token_embed(tokens.clamp(min=0)) + self.pos_embed))
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.head(torch.tanh(self.pooler(x[:, 0])))
        return out


def bert(
    *,
    dim: Width = 64,
    depth: Depth = 2,
    heads: Width = 4,
    mlp_dim: Width = 256,
    dropout: Rate = 0.0,
    activation: Activation = "gelu",
    vocab_size: Count = 257,
    length: Width = 64,
    num_classes: Count = 10,
) -> nn.Module:
    """Encoder of `depth` blocks with `heads` heads of `dim` / `heads` units each, for the class of a text.

    Raises StarcliError unless `heads` divides `dim`.
    """
    if problems := misfit_of_heads(dim, heads):
        raise StarcliError("bert: sizes that do not fit together", problems)
    return BERT(vocab_size, length, dim, depth, heads, mlp_dim, dropout, activation, num_classes)
