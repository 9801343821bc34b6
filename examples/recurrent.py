"""Recurrent networks, which starcli knows none of by name: of images read row by row, and of texts token by token.

    starcli train --arch examples/recurrent.py:rows --data digits --seeds 0,1 -o '{seed}.safetensors'
    starcli barrier 0.safetensors 1.safetensors --align weight --align-kinds all --arch examples/recurrent.py:rows

`alignment.py`, beside this file, measures what is left of the barrier between them.
"""

from torch import Tensor, nn

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class Rows(nn.Module):
    """Class scores of images (B, 1, rows, columns), from the state after the last row."""

    def __init__(self, cells: nn.RNNBase, num_classes: int) -> None:
        super().__init__()
        self.cells, self.head = cells, nn.Linear(cells.hidden_size, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, rows, columns) -> (B, classes)."""
        scores: Tensor = self.head(self.cells(images.squeeze(1))[0][:, -1])
        return scores


class NextTokens(nn.Module):
    """Scores of the token after each, from the state there."""

    def __init__(self, cells: nn.RNNBase, vocab_size: int) -> None:
        super().__init__()
        self.embed, self.cells = nn.Embedding(vocab_size, cells.input_size), cells
        self.head = nn.Linear(cells.hidden_size, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, length), -1 for padding at the end -> (B, length, vocabulary)."""
        scores: Tensor = self.head(self.cells(self.embed(tokens.clamp(min=0)))[0])
        return scores


def rows(*, kind: str = "gru", hidden_dim: int = 32, image_size: int = 8, num_classes: int = 10) -> nn.Module:
    """A recurrent network of images of so many pixels a side, in one channel."""
    return Rows(KINDS[kind](image_size, hidden_dim, batch_first=True), num_classes)


def texts(
    *, kind: str = "lstm", hidden_dim: int = 64, vocab_size: int = 257, length: int = 64, next_token: bool = True
) -> nn.Module:
    """A recurrent language model of texts of any length."""
    return NextTokens(KINDS[kind](hidden_dim // 2, hidden_dim, batch_first=True), vocab_size)
