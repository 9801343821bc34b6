"""SWA and SWAG as baselines, in a few lines: they are no part of the program.

Izmailov et al. 2018 (averaging weights leads to wider optima); Maddox et al. 2019 (a simple baseline for Bayesian
uncertainty in deep learning). A solution is trained on at a constant rate, its weights are kept after every so many
steps. SWA is their mean. A sample of SWAG is

    mean + diagonal^(1/2) z_1 / sqrt(2) + D z_2 / sqrt(2 (K - 1)),    z standard normal,

where the diagonal is mean of squares less square of mean, and D has the last K deviations from the running mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.workspace.workspace import Workspace


@dataclass
class Swag:
    """Running moments (P,) of weights, and the last deviations from their mean."""

    rank: int
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    square: Tensor = field(default_factory=lambda: torch.zeros(()))
    deviations: list[Tensor] = field(default_factory=list)

    def add(self, weights: Tensor) -> None:
        """Take in weights (P,)."""
        self.count += 1
        self.mean = self.mean + (weights - self.mean) / self.count
        self.square = self.square + (weights**2 - self.square) / self.count
        self.deviations = [*self.deviations, weights - self.mean][-self.rank :]

    def sample(self, draws: torch.Generator) -> Tensor:
        """Weights (P,) that are drawn."""
        diagonal = (self.square - self.mean**2).clamp_min(0)
        noise = diagonal.sqrt() * torch.randn(len(self.mean), generator=draws) / 2**0.5
        low = torch.stack(self.deviations)  # (K, P)
        return self.mean + noise + torch.randn(len(low), generator=draws) @ low / (2 * (len(low) - 1)) ** 0.5


def collected(
    workspace: Workspace, model: Mapping[str, Tensor], *, epochs: int, lr: float, every: float = 0.5, rank: int = 20
) -> Swag:
    """Train `model` on with SGD at a constant rate, weights kept each `every` epochs; else as the default recipe."""
    flat = workspace.network()
    flat.load(model)
    flat.network.train()
    optimizer = torch.optim.SGD(flat.network.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    found, train, draws = Swag(rank), workspace.dataset.train, torch.Generator().manual_seed(0)
    between, step = max(1, round(every * len(train) / 128)), 0
    for _ in range(epochs):
        for inputs, labels in train.subset(torch.randperm(len(train), generator=draws)).batches(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(flat.network(inputs), labels).backward()
            optimizer.step()
            step += 1
            if step % between == 0:
                found.add(flat.parameters.clone())
    return found


def with_weights(workspace: Workspace, model: Mapping[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    """The state dict of `model` with other weights (P,), whose BatchNorm statistics are to be re-estimated."""
    flat = workspace.network()
    flat.load(model)
    flat.parameters.copy_(weights)
    return flat.state()
