"""A compiled forward pass: the same numbers up to rounding, a note, and nothing left changed by measuring it."""

from dataclasses import dataclass, field

import pytest
import torch
from support.training import small
from torch import nn

from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Progress
from starcli.training import compiling
from starcli.training.compiling import CompiledForward
from starcli.training.stacked import train_stacked


@dataclass
class Notes(Progress):
    """Keeps what it is told."""

    texts: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


def test_the_first_call_measures_and_leaves_statistics_and_gradients_alone(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler of C++ for the test: what is compiled is the function itself."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    inputs, notes = torch.randn(6, 5), Notes()
    network(inputs).sum().backward()
    gradient = network[0].weight.grad.clone()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    forward = CompiledForward(network, 100, notes)
    expected = network.eval()(inputs)
    assert torch.equal(forward(inputs), expected)
    network.train()
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert torch.equal(network[0].weight.grad, gradient)
    forward(inputs)
    [text] = notes.texts
    assert "a step takes" in text
    assert "pay" in text


def test_what_is_compiled_is_the_network_with_its_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook gives it inputs of its own to write into; others compute weights."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    network = nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=True))
    network.register_forward_pre_hook(lambda _, arguments: (2 * arguments[0],))
    network.register_forward_hook(lambda *found: found[-1] + 1)
    inputs = torch.randn(6, 5)
    assert torch.equal(CompiledForward(network, 100, Notes())(inputs), network[:1](2 * inputs).relu() + 1)


def test_what_cannot_be_compiled_is_said_in_a_line(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no C++ compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda function, **_: refuse)
    with pytest.raises(StarcliError, match="cannot be compiled here") as found:
        CompiledForward(network, 100, Notes())(torch.randn(6, 5))
    assert list(found.value.problems) == ["no C++ compiler"]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((2.0, 1.0), "it does not pay"),
        ((0.1, 0.2), "it would pay from 100 steps on, this run has 50"),
        ((0.1, 1.2), "it pays: about 45 s less"),
    ],
)
def test_the_verdict_weighs_the_steps(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, times: tuple[float, float], words: str
) -> None:
    compiled, plain = times
    seconds = iter([plain, 10.0, compiled])
    monkeypatch.setattr(compiling.CompiledForward, "_seconds", lambda *_, **__: next(seconds))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    notes = Notes()
    CompiledForward(network, 50, notes)(torch.randn(6, 5))
    assert words in notes.texts[0]


def test_stacked_runs_are_not_compiled() -> None:
    with pytest.raises(StarcliError, match="do not go together"):
        train_stacked(small(), Recipe(epochs=1, compile=True), [0, 1])


def test_measuring_draws_nothing_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout of the first step is that of a run that did not measure: a resumed run measures in another step."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    network = nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5))
    inputs = torch.randn(6, 5)
    torch.manual_seed(3)
    expected = network(inputs)
    torch.manual_seed(3)
    assert torch.equal(CompiledForward(network, 100, Notes())(inputs), expected)
