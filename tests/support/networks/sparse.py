"""Mixtures that give each expert just the examples that chose it, in the ways that such code is written."""

import torch
from support.networks.lists import Mixture
from torch import Tensor, nn


class Chosen(Mixture):
    """A mixture of the best two of four experts, each a module of a list."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.read(x).relu()
        return self.out(x + self.mixed(x))

    def mixed(self, x: Tensor) -> Tensor:
        """What the chosen experts say."""
        raise NotImplementedError

    def best(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and numbers (examples, 2) of the chosen experts."""
        best: tuple[Tensor, Tensor] = self.router(x).softmax(-1).topk(2, -1)
        return best


class ByWhere(Chosen):
    """Rows by where on a mask of one-hot vectors, added by index."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        result = torch.zeros_like(x)
        mask = nn.functional.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        for e, expert in enumerate(self.experts):
            nth, rows = torch.where(mask[e])
            said = expert(x[None, rows].reshape(-1, x.shape[-1])) * weights[rows, nth, None]
            result.index_add_(0, rows, said)
        return result


class ByMask(Chosen):
    """Rows by a mask, nothing where there are none, added in place."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            own = chosen == e
            rows = own.any(-1)
            if not rows.any():
                continue
            result[rows] += (weights * own).sum(-1)[rows].unsqueeze(-1) * expert(x[rows])
        return result


class ByNonzero(Chosen):
    """Rows by nonzero, in a tuple, counted by the length."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows, nth = (chosen == e).nonzero(as_tuple=True)
            if rows.numel() == 0:
                continue
            result.index_add_(0, rows, weights[rows, nth].unsqueeze(-1) * expert(x[rows]))
        return result


class ByCount(Chosen):
    """Rows by nonzero, counted by a sum, read and added to by their numbers."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            own = chosen == e
            if own.sum() == 0:
                continue
            rows = own.any(-1).nonzero().squeeze(-1)
            result[rows] += expert(x[rows]) * (weights * own).sum(-1)[rows, None]
        return result


class ByNewTensors(Chosen):
    """One expert for each example; a new tensor for each sum."""

    def mixed(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).max(-1)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            [rows] = torch.where(chosen == e)
            if len(rows):
                result = result.index_add(0, rows, weight[rows, None] * expert(x[rows]))
        return result


class Switched(Chosen):
    """One expert for each example, whose output is written to its row."""

    def mixed(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).max(-1)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows = chosen == e
            if rows.any():
                result[rows] = expert(x[rows]) * weight[rows].unsqueeze(-1)
        return result


class Repeated(Chosen):
    """A row for each example and choice, in memory that is written afterwards."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        rows, numbers = x.repeat_interleave(2, 0), chosen.view(-1)
        said = torch.empty_like(rows)
        for e, expert in enumerate(self.experts):
            said[numbers == e] = expert(rows[numbers == e])
        return (said.view(len(x), 2, -1) * weights.unsqueeze(-1)).sum(1)


class Batched(ByMask):
    """Tokens of texts, whose two axes a mask has too."""

    def mixed(self, x: Tensor) -> Tensor:
        weights, chosen = self.best(x)
        result = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            own = (chosen == e).any(-1)
            if own.any():
                result[own] += expert(x[own]) * ((chosen == e) * weights).sum(-1)[own].unsqueeze(-1)
        return result
