"""Mixtures whose experts are modules of a list, or rows that a loop reads, put together in many ways."""

import torch
from support.networks.lists import Mixture
from torch import Tensor, nn


class GatedByPieces(Mixture):
    """Gates taken apart by unbind; experts are added one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        result, gates = x, self.router(x).softmax(-1).unbind(-1)
        for gate, expert in zip(gates, self.experts, strict=True):
            result = result + gate.unsqueeze(-1) * expert(x)
        return self.out(result)


class StackedOutputs(Mixture):
    """Outputs of all experts in one tensor, weighed there."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        outputs = torch.stack([expert(x) for expert in self.experts], -1)
        return self.out(x + torch.einsum("bdn,bn->bd", outputs, self.router(x).softmax(-1)))


class ByNumber(Mixture):
    """The best two experts, asked for by their numbers, added in place."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        mixed = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            mixed += (weights * (chosen == i)).sum(-1, keepdim=True) * expert(x)
        return self.out(x + mixed)


class Scattered(Mixture):
    """The scores of the best two experts, put back in their places."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        scores = self.router(x)
        best, chosen = scores.topk(2, -1)
        gates = torch.zeros_like(scores).scatter(-1, chosen, best.softmax(-1))
        return self.out(x + sum(gates[:, i, None] * expert(x) for i, expert in enumerate(self.experts)))


class RowByRow(nn.Module):
    """Experts as rows of stacked parameters, in a loop."""

    def __init__(self, width: int = 6, hidden: int = 5, experts: int = 4) -> None:
        super().__init__()
        self.read, self.router, self.out = nn.Linear(8, width), nn.Linear(width, experts), nn.Linear(width, 3)
        self.up, self.down = (
            nn.Parameter(torch.randn(experts, hidden, width)),
            nn.Parameter(torch.randn(experts, width, hidden)),
        )
        self.bias = nn.Parameter(torch.randn(experts, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x).relu()
        weights, chosen = self.router(x).topk(2)
        mixed = torch.zeros_like(x)
        for e in range(len(self.up)):
            gate = (weights.softmax(-1) * (chosen == e)).sum(-1, keepdim=True)
            mixed += gate * ((x @ self.up[e].T + self.bias[e]).relu() @ self.down[e].T)
        return self.out(x + mixed)


class GateOnStream(Mixture):
    """As many experts as units of the stream, each added to one: they could only move together, twice on a tensor."""

    def __init__(self) -> None:
        super().__init__(experts=6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        gates = self.router(x).softmax(-1)
        return self.out(x + gates + sum(gates[:, i, None] * expert(x) for i, expert in enumerate(self.experts)))


class Unlike(Mixture):
    """Experts that are told apart by what is done with them."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        return self.out(x + sum((i + 1) * expert(x) for i, expert in enumerate(self.experts)))


class UnlikeInside(Mixture):
    """Experts that differ in a constant within."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        gates = self.router(x).softmax(-1)
        made = [nn.functional.leaky_relu(expert[0](x), 0.1 * (i + 1)) for i, expert in enumerate(self.experts)]
        return self.out(x + sum(gates[:, i, None] * self.experts[i][2](each) for i, each in enumerate(made)))


class ListOfLists(nn.Module):
    """A sum of mixtures: of two numbers in a name one can be stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.mixtures = nn.ModuleList(Mixture() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        return self.mixtures[0](x) + self.mixtures[1](x)


class Layered(nn.Module):
    """As many layers as each has experts: a list of lists of as many members, of which only the inner ones move."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(8, 6), nn.Linear(6, 3)
        self.layers = nn.ModuleList(Mixture(experts=layers, inputs=6) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x)
        for layer in self.layers:
            gates = layer.router(x).softmax(-1)
            x = x + sum(gates[:, i, None] * expert(x) for i, expert in enumerate(layer.experts))
        return self.out(x)


class Kept(Mixture):
    """The best expert, put where it was chosen, what was there before elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        weights, chosen = self.router(x).softmax(-1).max(-1, keepdim=True)
        mixed = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            mixed = torch.where(chosen == i, weights * expert(x), mixed)
        return self.out(x + mixed)


class WrittenInPieces(Mixture):
    """Outputs of all experts, each written to its place in a tensor of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        outputs = torch.zeros(len(x), len(self.experts), x.shape[1]).to(x)
        for i, expert in enumerate(self.experts):
            outputs[:, i] = expert(x)
        return self.out(x + (outputs * self.router(x).softmax(-1)[..., None]).sum(1))


class ReadAtNumbers(Mixture):
    """Outputs of all experts, of which each example reads that of the best."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        weights, chosen = self.router(x).softmax(-1).max(-1)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return self.out(x + weights[:, None] * outputs[torch.arange(len(x)), chosen])


class BesideTheStream(nn.Module):
    """Branches side by side, between the stream that they read and half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(8, 6), nn.Linear(6 + 4 * 5 + 6, 3)
        self.branches = nn.ModuleList(nn.Linear(6, 5) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        return self.out(torch.cat([x, *[branch(x).tanh() for branch in self.branches], x / 2], 1))
