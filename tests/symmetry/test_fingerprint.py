"""What tells a network: what it is and computes, never where it comes from or which weights it has."""

import pytest
import torch
from torch import Tensor, nn

from starcli.symmetry.fingerprint import network_fingerprint

EXAMPLE = (torch.zeros(2, 5),)


class Net(nn.Module):
    """Two hidden layers, with a switch that shows in no tensor."""

    def __init__(self, skip: bool = False, scale: float = 1.0, size: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, size), nn.Linear(size, size), nn.Linear(size, 3)
        self.skip, self.scale = skip, scale

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        g = self.second(h).relu()
        return self.last(g + h if self.skip else g) * self.scale


def of(network: nn.Module, name: str = "mine:build") -> str | None:
    return network_fingerprint(name, network, EXAMPLE)


def test_weights_do_not_count() -> None:
    assert of(Net()) == of(Net()) == of(Net().train()) == of(Net().eval())


@pytest.mark.parametrize("changes", [{"skip": True}, {"scale": 2.0}, {"size": 6}])
def test_what_it_computes_counts(changes: dict[str, object]) -> None:
    assert of(Net()) != of(Net(**changes))  # type: ignore[arg-type]


def test_what_no_attribute_tells_counts_by_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hidden(Net):
        def forward(self, x: Tensor) -> Tensor:
            import os

            return super().forward(x).tanh() if os.environ.get("SQUASH") else super().forward(x)

    before = of(Hidden())
    monkeypatch.setenv("SQUASH", "1")
    assert of(Hidden()) != before


def test_tied_and_untied_weights_differ() -> None:
    tied = Net()
    tied.second.weight = tied.last.weight = nn.Parameter(torch.zeros(4, 4))
    tied.last.bias = nn.Parameter(torch.zeros(4))
    untied = Net()
    untied.last = nn.Linear(4, 4)
    assert of(tied) != of(untied)


def test_tables_that_are_no_buffers_count() -> None:
    first, second = Net(), Net()
    first.table, second.table = torch.zeros(3), torch.ones(3)
    assert of(first) != of(second)


def test_hooks_count_and_their_numbers_do_not() -> None:
    """torch counts all hooks of the process."""

    def normed(dim: int = 0) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 5), dim=dim))

    assert of(normed()) == of(normed())
    assert of(normed()) != of(normed(1))


def test_what_cannot_be_told_is_none() -> None:
    class Random(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(())

    class Broken(Net):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    assert of(Random()) is None
    assert of(Broken()) is None


def test_names_of_the_registry_say_all() -> None:
    assert of(Net(), "mlp") == ""
