"""Small networks of recurrent cells."""

from torch import Tensor, nn


class LastOutput(nn.Module):
    """Cells of a kind, `nn.LSTM`, `nn.GRU` or `nn.RNN`, and a linear head that reads what they say last."""

    def __init__(self, kind: type[nn.RNNBase], **options: int) -> None:
        super().__init__()
        self.cells = kind(9, 5, batch_first=True, **options)
        self.head = nn.Linear(options.get("proj_size", 5), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])
