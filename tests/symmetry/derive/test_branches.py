"""Which networks are asked for outputs that only a training network gives; and that tracing leaves the collector be."""

import gc

import pytest
import torch
from torch import nn

from starcli.errors import StarcliError
from starcli.symmetry.derive.branches import traced_network
from starcli.symmetry.derive.derive import derive


class Plain(nn.Module):
    """An auxiliary output while training; subclasses ask for the mode in ways of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 2)

    def asked(self) -> bool:
        return self.training

    def forward(self, x):
        return (self.a(x), self.b(x)) if self.asked() else self.a(x)


class Nested(Plain):
    def asked(self):
        return (lambda: self.training)()


class Named(Plain):
    def asked(self):
        return getattr(self, "training")  # noqa: B009


class Never(Plain):
    """Only the class below has the word."""

    def asked(self):
        return False


@pytest.mark.parametrize(("kind", "more"), [(Plain, True), (Nested, True), (Named, True), (Never, False)])
def test_outputs_of_training_are_found(kind, more):
    network = kind()
    found = traced_network(network, (torch.rand(2, 3),))
    assert (found is not network) == more


def test_a_replaced_forward_is_asked():
    network = nn.Linear(3, 4)
    network.b = nn.Linear(3, 2)
    plain = network.forward
    network.forward = lambda x: (plain(x), network.b(x)) if network.training else plain(x)
    assert traced_network(network, (torch.rand(2, 3),)) is not network


def test_no_pass_for_a_network_that_never_asks():
    network = nn.Sequential(nn.Linear(3, 4))
    network.register_forward_hook(lambda *_: pytest.fail("a pass"))
    assert traced_network(network, (torch.rand(2, 3),)) is network


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        derive(nn.Linear(3, 4), (torch.rand(2, 3),))
        assert gc.isenabled() == enabled
        with pytest.raises(StarcliError):
            derive(nn.Linear(3, 4), (torch.rand(2, 5),))
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
