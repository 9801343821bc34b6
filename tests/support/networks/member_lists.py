"""Lists of heads, branches, layers and others, put together in many ways."""

import torch
from support.networks.lists import Head
from torch import Tensor, nn


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


class Half(nn.Module):
    """Minus half of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """As many numbers."""
        return -x / 2


class Square(nn.Module):
    """The square of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """As many numbers."""
        return x * x


class Ended(nn.Module):
    """A sum of what members give, each through an end of its own."""

    def __init__(self, *ends: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.Sequential(nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3), end) for end in ends)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        return sum((member(x) for member in self.members), torch.zeros(3))


class Twins(nn.Module):
    """Two critics, of which the smaller score counts."""

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList(nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """One score for each example."""
        return torch.min(*(critic(x) for critic in self.critics))


class Recurrent(nn.Module):
    """LSTMs side by side."""

    def __init__(self, count: int = 3, hidden: int = 4) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.LSTM(5, hidden, batch_first=True) for _ in range(count))
        self.out = nn.Linear(count * hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes, from the last step."""
        return self.out(torch.cat([member(x)[0][:, -1] for member in self.members], -1))


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
