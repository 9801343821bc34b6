"""Vision transformer (Dosovitskiy et al. 2021), minimal: pre-norm, class token, learned positions, fused qkv."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.arguments import (
    Activation,
    Count,
    Depth,
    ImageSize,
    Rate,
    Width,
    height_and_width,
)
from starcli.models.transformer import PreNormBlock, draw_linear_layers_, misfit_of_heads


class ViT(nn.Module):
    """Vision transformer: patches and a class token through `depth` blocks; the head reads the class token."""

    def __init__(
        self,
        patches: int,
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        dropout: float,
        in_channels: int,
        num_classes: int,
        activation: str,
    ) -> None:
        """`patches` is the number of patches in an image; the rest as of `vit`."""
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, dim))
        self.patch_embed = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(PreNormBlock(dim, heads, mlp_dim, dropout, activation) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Draw token and positions from N(0, 0.02^2), linear layers after Glorot and Bengio 2010."""
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        draw_linear_layers_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, num_classes)."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)  # (batch, patches, dim)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(self.dropout(x + self.pos_embed)))
        out: Tensor = self.head(x[:, 0])
        return out


def vit(
    *,
    patch_size: Width = 4,
    dim: Width = 64,
    depth: Depth = 6,
    heads: Width = 8,
    mlp_dim: Width = 128,
    dropout: Rate = 0.0,
    activation: Activation = "gelu",
    in_channels: Width = 3,
    image_size: ImageSize = 32,
    num_classes: Count = 10,
) -> nn.Module:
    """Vision transformer of `depth` blocks with `heads` heads of `dim` / `heads` units each.

    Raises StarcliError unless `patch_size` divides both sides of the image, and `heads` divides `dim`.
    """
    height, width = height_and_width(image_size)
    problems = _misfits(height, width, patch_size=patch_size, dim=dim, heads=heads)
    if problems:
        raise StarcliError("vit: sizes that do not fit together", problems)
    patches = (height // patch_size) * (width // patch_size)
    return ViT(patches, patch_size, dim, depth, heads, mlp_dim, dropout, in_channels, num_classes, activation)


def _misfits(height: int, width: int, *, patch_size: int, dim: int, heads: int) -> Sequence[str]:
    """Sizes that do not fit together, one line each."""
    problems = []
    if height % patch_size or width % patch_size:
        fitting = [str(p) for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        problems.append(
            f"patch_size: {patch_size} does not divide {height}x{width} pixels; " + ", ".join(fitting) + " do"
        )
    return [*problems, *misfit_of_heads(dim, heads)]
