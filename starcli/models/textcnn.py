"""TextCNN (Kim 2014): convolutions of several widths over a text, the largest output of each over all places."""

import torch
from torch import Tensor, nn

from starcli.models.arguments import Activation, Count, Rate, Width, activation_module

WIDTHS = (3, 4, 5)
"""Tokens that a filter reads, as in the paper."""


class TextCNN(nn.Module):
    """Embeddings, `channels` filters of each of WIDTHS, their largest outputs, a linear head.

    Padding counts: windows of nothing but padding, whose output is a filter's bias, compete in the maximum, so that the
    same text in a longer row may have other logits.
    """

    def __init__(
        self, vocab_size: int, dim: int, channels: int, dropout: float, activation: str, num_classes: int
    ) -> None:
        """Arguments as of `textcnn`."""
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.convs = nn.ModuleList(nn.Conv1d(dim, channels, width, padding=width - 1) for width in WIDTHS)
        self.activation = activation_module(activation)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(len(WIDTHS) * channels, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding, whose embeddings are 0, -> logits (B, num_classes)."""
        x = self.embed(tokens.clamp(min=0)) * (tokens >= 0).unsqueeze(-1)
        x = x.transpose(1, 2)  # (batch, dim, length)
        found = [self.activation(conv(x)).amax(2) for conv in self.convs]  # each (batch, channels)
        out: Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return out


def textcnn(
    *,
    dim: Width = 64,
    channels: Width = 64,
    dropout: Rate = 0.0,
    activation: Activation = "relu",
    vocab_size: Count = 257,
    num_classes: Count = 10,
) -> nn.Module:
    """TextCNN of embeddings of `dim` units, with `channels` filters of 3, 4 and 5 tokens each."""
    return TextCNN(vocab_size, dim, channels, dropout, activation, num_classes)
