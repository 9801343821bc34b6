"""Networks that compute the same with each module of a list: experts of a mixture, heads of attention."""

from typing import Any

import torch
from torch import Tensor, nn

MIXTURE = """format: 1
groups: {unit: {within: expert}}
tensors:
  read.*: [stream]
  router.weight: [expert, stream]
  router.bias: [expert]
  experts.[].0.weight: [expert, unit, stream]
  experts.[].0.bias: [expert, unit]
  experts.[].2.weight: [expert, stream, unit]
  experts.[].2.bias: [expert, stream]
  out.weight: [_, stream]
  out.bias: []
"""
HEADS = """format: 1
groups: {qk: {within: head}, vo: {within: head}}
tensors:
  read.*: [stream]
  heads.[].key.weight: [head, qk, stream]
  heads.[].query.weight: [head, qk, stream]
  heads.[].value.weight: [head, vo, stream]
  proj.weight: [stream, (head vo)]
  proj.bias: [stream]
  out.weight: [_, stream]
  out.bias: []
"""
BRANCHES = """format: 1
groups: {unit: {within: branch}}
tensors:
  read.*: [stream]
  branches.[].0.*: [branch, stream]
  branches.[].1.weight: [branch, unit, stream]
  branches.[].1.bias: [branch, unit]
  branches.[].3.weight: [branch, stream, unit]
  norm.*: [stream]
  out.weight: [_, stream]
  out.bias: []
"""


class Mixture(nn.Module):
    """A mixture of experts, all of which are computed, in a list."""

    def __init__(self, width: int = 6, hidden: int = 5, experts: int = 4, inputs: int = 8) -> None:
        super().__init__()
        self.read, self.router = nn.Linear(inputs, width), nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)) for _ in range(experts)
        )
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x).relu()
        gates = self.router(x).softmax(-1)
        mixed: Any = sum(gates[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts))
        return self.out(x + mixed)


class Head(nn.Module):
    """One head of attention, with weights of its own."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> (batch, length, size)."""
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * self.key.out_features**-0.5
        return scores.softmax(-1) @ self.value(x)


class HeadList(nn.Module):
    """Attention whose heads are modules of a list, as in many tutorials."""

    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.read = nn.Linear(7, width)
        self.heads = nn.ModuleList(Head(width, width // heads) for _ in range(heads))
        self.proj, self.out = nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes, the mean over positions."""
        x = self.read(x)
        x = x + self.proj(torch.cat([head(x) for head in self.heads], -1))
        return self.out(x).mean(1)


class Branches(nn.Module):
    """Branches beside each other, each behind a norm of its own."""

    def __init__(self, width: int = 7, hidden: int = 5, branches: int = 3) -> None:
        super().__init__()
        self.read, self.norm, self.out = nn.Linear(4, width), nn.LayerNorm(width), nn.Linear(width, 3)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width, bias=False)
            )
            for _ in range(branches)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x)
        added: Any = sum(branch(x) for branch in self.branches)
        return self.out(self.norm(x + added))


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


class MaskedHead(Head):
    """A head of a language model, with the mask that tutorials keep in each head."""

    def __init__(self, width: int, size: int, length: int) -> None:
        super().__init__(width, size)
        self.register_buffer("tril", torch.tril(torch.ones(length, length)))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * self.key.out_features**-0.5
        return scores.masked_fill(self.tril[:n, :n] == 0, float("-inf")).softmax(-1) @ self.value(x)


class TutorialBlock(nn.Module):
    """A block of a language model with a list of heads."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(MaskedHead(width, width // heads, length) for _ in range(heads))
        self.proj, self.ln1, self.ln2 = nn.Linear(width, width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffwd = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Adds attention, then what the hidden units say."""
        normal = self.ln1(x)
        x = x + self.proj(torch.cat([head(normal) for head in self.heads], -1))
        return x + self.ffwd(self.ln2(x))


class TutorialGPT(nn.Module):
    """A language model of two such blocks."""

    def __init__(self, words: int = 11, width: int = 12, heads: int = 3, length: int = 8) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(TutorialBlock(width, heads, length) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next token."""
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def branch(width: int, hidden: int) -> nn.Sequential:
    """Two convolutions with BatchNorm and one without."""
    return nn.Sequential(
        *(nn.Conv2d(width, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU()),
        *(nn.Conv2d(hidden, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, width, 1)),
    )


class ConvBranches(nn.Module):
    """Branches of convolutions, joined in one of the ways that do not care for their order, or side by side."""

    def __init__(self, how: str, branches: int = 4, width: int = 6, hidden: int = 5) -> None:
        super().__init__()
        self.how, self.stem = how, nn.Conv2d(3, width, 3, padding=1)
        self.branches = nn.ModuleList(branch(width, hidden) for _ in range(branches))
        self.out = nn.Linear(width * (branches if how == "cat" else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.stem(x).relu()
        made = [each(x) for each in self.branches]
        if self.how == "sum":
            for each in made:
                x = x + each
        elif self.how == "mean":
            x = torch.stack(made).mean(0)
        elif self.how == "max":
            x = torch.stack(made, 1).amax(1)
        elif self.how == "product":
            x = made[0] * made[1] * made[2] * made[3]
        else:
            x = torch.cat(made, 1)
        return self.out(x.mean((2, 3)))


class Pieces(nn.Module):
    """Members that each read, and write, a piece of the units."""

    def __init__(self, count: int = 3, size: int = 4, hidden: int = 5) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(8, count * size), nn.Linear(count * size, 3)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size)) for _ in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        pieces = self.read(x).relu().chunk(len(self.parts), -1)
        return self.out(torch.cat([part(piece) for part, piece in zip(self.parts, pieces, strict=True)], -1))


class OneUnitEach(nn.Module):
    """Members that give one number each."""

    def __init__(self, members: int = 4) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(8, 6), nn.Linear(members, 3)
        self.members = nn.ModuleList(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)) for _ in range(members))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x).relu()
        return self.out(torch.cat([member(x) for member in self.members], -1).relu())


class ClassByClass(OneUnitEach):
    """Members that are told apart: each gives the score of a class."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        return torch.cat([member(x) for member in self.members], -1)


class GateOnStream(Mixture):
    """As many experts as units of the stream, each added to one: they could only move together, twice on a tensor."""

    def __init__(self) -> None:
        super().__init__(experts=6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        gates = self.router(x).softmax(-1)
        return self.out(x + gates + sum(gates[:, i, None] * expert(x) for i, expert in enumerate(self.experts)))


class Prompts(nn.Module):
    """Rows of a parameter that are laid before the positions of a text."""

    def __init__(self, rows: int = 3) -> None:
        super().__init__()
        self.rows, self.read = nn.Parameter(torch.randn(rows, 6)), nn.Linear(8, 6)
        self.mix, self.out = nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes, the mean over positions."""
        rows = [row.expand(len(x), 1, 6) for row in self.rows]
        return self.out(self.mix(torch.cat([*rows, self.read(x)], 1).relu()).mean(1))


class Twins(nn.Module):
    """Two critics, of which the smaller score counts."""

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList(nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """One score for each example."""
        return torch.min(*(critic(x) for critic in self.critics))


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


class Recurrent(nn.Module):
    """LSTMs side by side."""

    def __init__(self, count: int = 3, hidden: int = 4) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.LSTM(5, hidden, batch_first=True) for _ in range(count))
        self.out = nn.Linear(count * hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes, from the last step."""
        return self.out(torch.cat([member(x)[0][:, -1] for member in self.members], -1))


class ListOfLists(nn.Module):
    """A sum of mixtures: of two numbers in a name one can be stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.mixtures = nn.ModuleList(Mixture() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        return self.mixtures[0](x) + self.mixtures[1](x)


class Chain(nn.Module):
    """Layers that follow each other: no list whose members may change places."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """The sum of all layers' outputs."""
        for layer in self.layers:
            x = x + layer(x).relu()
        return x


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
