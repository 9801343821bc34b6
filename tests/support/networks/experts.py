"""Mixtures of four experts of 5 units on a stream of 12, routed in the ways in which people write it.

Weights of all experts are stacked, (E, ...), and the router scores experts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from starcli.symmetry.proof.operators import grouped_mm

EXPERTS, STREAM, HIDDEN = 4, 12, 5


@torch.library.custom_op("starcli_tests::grouped_mm_fallback", mutates_args=())
def by_groups(input: Tensor, weight: Tensor, offs: Tensor) -> Tensor:
    """As transformers' models multiply while they are traced."""
    return grouped_mm(input, weight, offs=offs)


@by_groups.register_fake
def _(input: Tensor, weight: Tensor, offs: Tensor) -> Tensor:
    return input.new_empty(len(input), weight.shape[2])


class Mixture(nn.Module):
    """A stream, what `mixed` adds to it, and a mean over tokens: (examples, tokens, 7) -> (examples, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.router, self.last = nn.Linear(7, STREAM), nn.Linear(STREAM, EXPERTS), nn.Linear(STREAM, 3)
        self.up = nn.Parameter(torch.randn(EXPERTS, STREAM, HIDDEN) / STREAM**0.5)
        self.up_bias = nn.Parameter(torch.randn(EXPERTS, HIDDEN))
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, STREAM) / HIDDEN**0.5)
        self.down_bias = nn.Parameter(torch.randn(EXPERTS, STREAM))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x + self.mixed(x)).mean(1))

    def mixed(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def of_all(self, x: Tensor) -> Tensor:
        """What every expert makes of every token, (B, T, E, D)."""
        hidden = torch.relu(torch.einsum("btd,edh->bteh", x, self.up) + self.up_bias)
        return torch.einsum("bteh,ehd->bted", hidden, self.down) + self.down_bias


class Soft(Mixture):
    """All experts, weighted (Puigcerver et al. 2024, without slots)."""

    def mixed(self, x: Tensor) -> Tensor:
        return (self.of_all(x) * self.router(x).softmax(-1).unsqueeze(-1)).sum(2)


class ByScatter(Mixture):
    """The two best, their weights put where they stand among all."""

    def mixed(self, x: Tensor) -> Tensor:
        scores = self.router(x).softmax(-1)
        best, which = scores.topk(2, -1)
        return (self.of_all(x) * torch.zeros_like(scores).scatter(-1, which, best).unsqueeze(-1)).sum(2)


class ByOneHot(Mixture):
    """The two best, by one-hot vectors."""

    def mixed(self, x: Tensor) -> Tensor:
        best, which = self.router(x).softmax(-1).topk(2, -1)
        weights = (F.one_hot(which, EXPERTS) * best.unsqueeze(-1)).sum(-2)
        return torch.einsum("bted,bte->btd", self.of_all(x), weights)


class ByComparison(Mixture):
    """The best one, by comparing its number with all numbers."""

    def mixed(self, x: Tensor) -> Tensor:
        best, which = self.router(x).softmax(-1).max(-1, keepdim=True)
        return (self.of_all(x) * (best * (which == torch.arange(EXPERTS))).unsqueeze(-1)).sum(2)


class ByLookUp(Mixture):
    """The weights of the best one looked up for each token."""

    def mixed(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        which = scores.argmax(-1)
        hidden = torch.relu(torch.einsum("btd,btdh->bth", x, self.up[which]) + self.up_bias[which])
        made = torch.einsum("bth,bthd->btd", hidden, self.down[which]) + self.down_bias[which]
        return made * scores.gather(-1, which.unsqueeze(-1)).sigmoid()


class BySelection(Mixture):
    """The weights of the best one selected for each token."""

    def mixed(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        best, which = self.router(rows).max(-1, keepdim=True)
        up, bias, down, shift = (
            each.index_select(0, which.squeeze(1)) for each in (self.up, self.up_bias, self.down, self.down_bias)
        )
        hidden = torch.relu(torch.bmm(rows.unsqueeze(1), up).squeeze(1) + bias)
        return ((torch.bmm(hidden.unsqueeze(1), down).squeeze(1) + shift) * best).view_as(x)


class ByBatches(Mixture):
    """Every expert as one of a batch of matrices, with room for six tokens each (Fedus et al. 2022, Switch)."""

    def mixed(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        best, which = self.router(rows).softmax(-1).max(-1)
        chosen = F.one_hot(which, EXPERTS).to(x.dtype)
        chosen = chosen * (chosen.cumsum(0) <= 6)
        hidden = torch.relu(torch.baddbmm(self.up_bias.unsqueeze(1), rows.expand(EXPERTS, -1, -1), self.up))
        made = torch.bmm(hidden, self.down) + self.down_bias[:, None]
        return torch.einsum("end,ne->nd", made, chosen * best.unsqueeze(1)).view_as(x)


class ChoosingTokens(Mixture):
    """Experts choose tokens (Zhou et al. 2022)."""

    def mixed(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        best, which = self.router(rows).softmax(-1).T.topk(3, -1)
        made = torch.bmm(torch.relu(torch.bmm(rows[which], self.up) + self.up_bias.unsqueeze(1)), self.down)
        made = (made + self.down_bias.unsqueeze(1)) * best.unsqueeze(-1)
        return torch.zeros_like(rows).index_add(0, which.flatten(), made.flatten(0, 1)).view_as(x)


class InOneProduct(Mixture):
    """Tokens sorted by their expert, each run of them by its matrix (as in transformers' models)."""

    def mixed(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        best, which = self.router(rows).softmax(-1).topk(2)
        best = best / (best.sum(-1, keepdim=True) + 1)
        which, order = which.flatten().sort(stable=True)
        ends = torch.histc(which.to(x.dtype), EXPERTS, 0, EXPERTS - 1).cumsum(0).to(torch.int32)
        hidden = F.silu(by_groups(rows[order // 2], self.up, ends) + self.up_bias[which])
        made = by_groups(hidden, self.down, ends) + self.down_bias[which]
        made = made * best.flatten()[order].unsqueeze(1)
        return made[order.argsort()].view(len(rows), 2, -1).sum(1).view_as(x)


class NormalisedWithin(Mixture):
    """Hidden units of the chosen expert are normalised together, with a gain of each expert's own."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(EXPERTS, HIDDEN) + 0.5)

    def mixed(self, x: Tensor) -> Tensor:
        best, which = self.router(x).max(-1, keepdim=True)
        which = which.squeeze(-1)
        hidden = torch.einsum("btd,btdh->bth", x, self.up[which]) + self.up_bias[which]
        hidden = torch.relu(F.layer_norm(hidden, (HIDDEN,)) * self.gain[which])
        return best * (torch.einsum("bth,bthd->btd", hidden, self.down[which]) + self.down_bias[which])


class SharedBias(ByLookUp):
    """The hidden units of all experts have one bias, so that they move alike."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(HIDDEN))

    def mixed(self, x: Tensor) -> Tensor:
        best, which = self.router(x).max(-1, keepdim=True)
        which = which.squeeze(-1)
        hidden = torch.relu(torch.einsum("btd,btdh->bth", x, self.up[which]) + self.up_bias[which] + self.bias)
        return best * (torch.einsum("bth,bthd->btd", hidden, self.down[which]) + self.down_bias[which])


class ByNumber(ByScatter):
    """A router whose experts are told apart by a number of each, as by a price."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("price", torch.tensor([0.1, 0.2, 0.3, 0.4]), persistent=False)

    def mixed(self, x: Tensor) -> Tensor:
        scores = self.router(x).softmax(-1)
        which = scores.topk(2, -1).indices
        kept = torch.zeros_like(scores).scatter(-1, which, 1.0)
        return (self.of_all(x) * (kept * scores * self.price).unsqueeze(-1)).sum(2)


class FromItsNumber(Soft):
    """What follows from the number of the best expert, and not from its units alone."""

    def mixed(self, x: Tensor) -> Tensor:
        return super().mixed(x) * self.router(x).argmax(-1, keepdim=True)


class InGroups(Mixture):
    """The best of two groups of two experts first, by a bias that is no weight (DeepSeek-AI 2024, DeepSeek-V3)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("expert_bias", torch.zeros(EXPERTS))

    def mixed(self, x: Tensor) -> Tensor:
        scores = self.router(x).sigmoid()
        biased = scores + self.expert_bias
        group = biased.unflatten(-1, (2, 2)).sum(-1)
        allowed = torch.zeros_like(group).scatter(-1, group.topk(1, -1).indices, 1.0)
        biased = biased.masked_fill(allowed.unsqueeze(-1).expand(*x.shape[:2], 2, 2).flatten(-2) == 0, 0.0)
        which = biased.topk(1, -1).indices
        weights = torch.zeros_like(scores).scatter(-1, which, scores.gather(-1, which))
        return (self.of_all(x) * weights.unsqueeze(-1)).sum(2)


class OfParts(Mixture):
    """Each token in three parts of 4 units, each of which chooses an expert for itself (Wu et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.parted, self.joined, self.router = nn.Linear(STREAM, 12), nn.Linear(12, STREAM), nn.Linear(4, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, 4, HIDDEN) / 2)
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, 4) / HIDDEN**0.5)
        del self.up_bias, self.down_bias

    def mixed(self, x: Tensor) -> Tensor:
        parts = self.parted(x).unflatten(-1, (3, 4))
        best, which = self.router(parts).softmax(-1).max(-1, keepdim=True)
        which = which.squeeze(-1)
        hidden = torch.relu(torch.einsum("btpd,btpdh->btph", parts, self.up[which]))
        return self.joined((torch.einsum("btph,btphd->btpd", hidden, self.down[which]) * best).flatten(2))


class Codebook(nn.Module):
    """The nearest of eight codes in place of what a layer gives (van den Oord et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(7, 5), nn.Linear(5, 3)
        self.codes = nn.Embedding(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).flatten(0, 1)
        nearest = torch.cdist(x, self.codes.weight).argmin(1)
        return self.last(self.codes(nearest) + x)
