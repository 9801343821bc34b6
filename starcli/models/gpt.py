"""Decoder of texts in the manner of GPT-2 (Radford et al. 2019): pre-norm, causal, learned positions, fused qkv."""

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.arguments import Activation, Count, Depth, Rate, Width
from starcli.models.transformer import PreNormBlock, draw_linear_layers_, misfit_of_heads


class GPT(nn.Module):
    """Tokens through `depth` causal blocks; the head reads every position, or the last token of a text.

    Padding stands behind the tokens of a text, so that no token looks at it.
    """

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
        next_token: bool,
    ) -> None:
        """Arguments as of `gpt`."""
        super().__init__()
        self.next_token = next_token
        self.token_embed = nn.Embedding(vocab_size, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, length, dim))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(
            *(PreNormBlock(dim, heads, mlp_dim, dropout, activation, causal=True) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        nn.init.normal_(self.token_embed.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        draw_linear_layers_(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding, -> logits (B, length, num_classes), or (B, num_classes) of texts."""
        x = self.token_embed(tokens.clamp(min=0)) + self.pos_embed
        x = self.norm(self.blocks(self.dropout(x)))  # (batch, length, dim)
        if not self.next_token:
            here = tokens >= 0
            last = here & ~torch.cat([here[:, 1:], torch.zeros_like(here[:, :1])], dim=1)
            x = (x * last.unsqueeze(-1)).sum(1)  # (batch, dim)
        out: Tensor = self.head(x)
        return out


def gpt(
    *,
    dim: Width = 64,
    depth: Depth = 2,
    heads: Width = 4,
    mlp_dim: Width = 256,
    dropout: Rate = 0.0,
    activation: Activation = "gelu",
    vocab_size: Count = 257,
    length: Width = 64,
    num_classes: Count = 257,
    next_token: bool = True,
) -> nn.Module:
    """Decoder of `depth` blocks with `heads` heads of `dim` / `heads` units each.

    next_token: predict what follows each token (the classes are the vocabulary); else the class of a text, from its
        last token.

    Raises StarcliError unless `heads` divides `dim`.
    """
    if problems := misfit_of_heads(dim, heads):
        raise StarcliError("gpt: sizes that do not fit together", problems)
    return GPT(vocab_size, length, dim, depth, heads, mlp_dim, dropout, activation, num_classes, next_token)
