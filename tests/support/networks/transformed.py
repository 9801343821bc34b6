"""Small networks that call `torch.func` in their forward pass."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class OneByOne(nn.Module):
    """Layers that see one example at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda row: self.last(self.second(self.first(row).tanh()).relu()))(x)


class MappedEnsemble(nn.Module):
    """The mean of four networks in stacks of weights, over which one network is mapped."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bias = nn.Parameter(torch.randn(4, 6, 5)), nn.Parameter(torch.randn(4, 6))
        self.last = nn.Parameter(torch.randn(4, 3, 6))

    def forward(self, x: Tensor) -> Tensor:
        def member(first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
            return F.linear(F.linear(x, first, bias).relu(), last)

        return torch.vmap(member)(self.first, self.bias, self.last).mean(0)


class Directional(nn.Module):
    """A field, and its derivative in one direction."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        def field(at: Tensor) -> Tensor:
            return self.last(self.second(self.first(at).tanh()).tanh())

        return torch.cat(torch.func.jvp(field, (x,), (torch.ones_like(x),)), -1)
