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
