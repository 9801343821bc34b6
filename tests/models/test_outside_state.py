"""A network's state dict decides its outputs, or the network is refused: two processes build two of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

import starcli as sc
from starcli.errors import StarcliError
from starcli.models.outside_state import refuse_outside_state


class Features(nn.Module):
    """Random features of the inputs, kept in some way; its head is zero at first."""

    def __init__(self, keep: Callable[[nn.Module, Tensor], None]) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        nn.init.zeros_(self.head.weight)
        keep(self, torch.randn(4, 6))

    def table(self) -> Any:
        return self.kept[0] if isinstance(self.kept, list) else self.kept

    def forward(self, x: Tensor) -> Tensor:
        table = self.table()
        return self.head((table(x) if isinstance(table, nn.Module) else x @ table).sin())


class Alias(nn.Module):
    """A layer, and what was made of its weight once."""

    def __init__(self, make: Callable[[nn.Parameter], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.other = make(self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        other = self.other[0] if isinstance(self.other, list) else self.other
        return self.layer(x).tanh() @ other


class Centred(nn.Module):
    """Keeps a running mean of its own, or a cached table of its weights, which eval mode reads."""

    def __init__(self, cache: str) -> None:
        super().__init__()
        self.layer, self.cache, self.mean = nn.Linear(4, 3), cache, torch.zeros(3)
        self.square: Tensor | None = None

    def train(self, mode: bool = True) -> "Centred":
        if self.cache == "forgotten":
            self.square = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        if self.cache == "mean":
            self.mean = self.mean.lerp(found.mean(0), 0.1) if self.training else self.mean
            return found - self.mean
        if self.square is None:
            self.square = self.layer.weight.square().sum()
        return found * self.square


REFUSED = {
    "attribute": (lambda: Features(lambda net, table: setattr(net, "kept", table)), "kept"),
    "not persistent": (
        lambda: Features(lambda net, table: net.register_buffer("kept", table, persistent=False)),
        "kept",
    ),
    "list": (lambda: Features(lambda net, table: setattr(net, "kept", [nn.Parameter(table)])), "kept"),
    "modules in a list": (lambda: Features(lambda net, _: setattr(net, "kept", [nn.Linear(4, 6)])), "kept"),
    "view of a weight": (lambda: Alias(lambda weight: weight.t()), "other"),
    "data of a weight": (lambda: Alias(lambda weight: weight.data), "other"),
    "running mean": (lambda: Centred("mean"), "mean"),
    "never forgotten": (lambda: Centred("kept"), "mean, square"),
}


class Merging(nn.Linear):
    """Adds in eval mode to its weight what it takes away in train mode, as loralib does."""

    merged = False

    def train(self, mode: bool = True) -> "Merging":
        if mode == self.merged:
            self.weight.data.add_(self.bias[:, None], alpha=-1.0 if mode else 1.0)
            self.merged = not mode
        return super().train(mode)


TAKEN = {
    "merging": lambda: Merging(4, 3),
    "buffer": lambda: Features(lambda net, table: net.register_buffer("kept", table)),
    "parameter twice": lambda: Alias(lambda weight: [weight]),
    "forgotten": lambda: Centred("forgotten"),
    "table": lambda: Features(lambda net, _: setattr(net, "kept", torch.linspace(0, 1, 24).view(4, 6))),
    "weight_norm": lambda: weight_norm(nn.Linear(4, 3)),
    "weight_norm of parametrizations": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
    "spectral_norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.BatchNorm1d(3)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(4, 3), use_trivialization=False),
    "pruned": lambda: nn.Sequential(prune.random_unstructured(nn.Linear(4, 3), "weight", amount=0.5), nn.Dropout()),
    "tied": lambda: _tied(nn.Linear(4, 4), nn.Linear(4, 4)),
}


def _tied(first: nn.Linear, second: nn.Linear) -> nn.Module:
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def check(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build()
    torch.manual_seed(1)
    refuse_outside_state("net", network, build(), torch.randn(2, 4))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the old weight_norm
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_outside_the_state_dict_is_refused_by_its_name(case: str) -> None:
    build, name = REFUSED[case]
    with pytest.raises(StarcliError, match="state dict does not have") as caught:
        check(build)
    assert caught.value.problems[0] == f"not in it: {name}"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", TAKEN)
def test_networks_that_their_state_dict_decides_are_taken(case: str) -> None:
    check(TAKEN[case])
    assert not parametrize._cache_enabled


def test_it_is_refused_before_training_whoever_builds_it() -> None:
    data = torch.randn(40, 4), torch.arange(40) % 3

    def build() -> nn.Module:
        return Features(lambda net, table: setattr(net, "kept", table))

    with pytest.raises(StarcliError, match="state dict does not have"):
        sc.train(build, data=data, epochs=1)
