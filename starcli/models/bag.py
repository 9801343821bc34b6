"""Bag of embeddings: a text is the mean of its tokens' embeddings (Joulin et al. 2017), read by one hidden layer."""

from torch import Tensor, nn

from starcli.models.arguments import Activation, Count, Rate, Width, activation_module


class Bag(nn.Module):
    """Mean embedding of a text's tokens, a hidden layer, a linear head."""

    def __init__(
        self, vocab_size: int, dim: int, hidden_dim: int, dropout: float, activation: str, num_classes: int
    ) -> None:
        """Arguments as of `bag`."""
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.activation = activation_module(activation)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden_dim, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding, -> logits (B, num_classes)."""
        here = (tokens >= 0).unsqueeze(-1)
        mean = (self.embed(tokens.clamp(min=0)) * here).sum(1) / here.sum(1)  # (batch, dim)
        out: Tensor = self.fc2(self.dropout(self.activation(self.fc1(mean))))
        return out


def bag(
    *,
    dim: Width = 64,
    hidden_dim: Width = 64,
    dropout: Rate = 0.0,
    activation: Activation = "relu",
    vocab_size: Count = 257,
    num_classes: Count = 10,
) -> nn.Module:
    """Bag of embeddings of `dim` units, and `hidden_dim` hidden units."""
    return Bag(vocab_size, dim, hidden_dim, dropout, activation, num_classes)
