"""Modules of a caller's own, trained by a plain loop."""

from typing import Any

import torch
from support.data import three_classes
from torch import Tensor, nn

Data = dict[str, tuple[Tensor, Tensor]]


class Net(nn.Sequential):
    """One hidden layer with BatchNorm and dropout."""

    def __init__(self, hidden: int = 8, outputs: int = 3) -> None:
        super().__init__(
            nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, outputs)
        )


def modules(count: int, make: Any = Net) -> list[nn.Module]:
    """Modules of the caller's own, each trained a little by a plain loop."""
    inputs, labels = three_classes(0)
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        module = make()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), labels).backward()
            optimizer.step()
        found.append(module)
    return found
