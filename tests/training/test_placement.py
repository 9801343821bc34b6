"""Training on a device that is only pretended: no tensor on the wrong one, the CPU's bytes, and nothing waited for."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from support.pretended import Pretended, pretended_cuda
from support.tensors import same
from support.training import Memory, Small, Stopping, small

from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.runtime.device import choose_device
from starcli.runtime.progress import Interrupted
from starcli.training.stacked import train_stacked
from starcli.training.train import train_network

RECIPE = Recipe(epochs=2, batch_size=32, lr=0.05, warmup=0, augmentation=("pad-crop", "flip"), clip=1.0)


def workspace(name: str = "resnet", limit: int = 100) -> Small:
    return small(name, limit=limit, **({"width": 4} if name == "resnet" else {"hidden_dim": 16}))


def on_cuda(name: str = "resnet", limit: int = 100) -> Small:
    return replace(workspace(name, limit), device=choose_device("cuda"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_bytes_of_the_cpu(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.override(optimizer=optimizer)
    expected = train_network(workspace(), recipe, 0)  # type: ignore[arg-type]
    with pretended_cuda(monkeypatch):
        found = train_network(on_cuda(), recipe, 0)  # type: ignore[arg-type]
    assert same(found.tensors, expected.tensors)
    assert found.metrics == expected.metrics


def waits(pretended: Pretended, limit: int) -> Counter[tuple[str, str]]:
    """What is waited for in one epoch with this many examples."""
    pretended.waits.clear()
    recipe = RECIPE.override(epochs=1, clip=0.0)  # torch's own clipping asks below what is pretended
    train_network(on_cuda(limit=limit), recipe, 0)  # type: ignore[arg-type]
    return Counter(pretended.waits)


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_cuda(monkeypatch) as pretended:
        few, many = waits(pretended, 64), waits(pretended, 192)
    assert {place for _, place in many - few} <= {"run.py:_check"}  # also each second that passes


def test_a_resumed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train_network(workspace("mlp"), RECIPE, 0)  # type: ignore[arg-type]
    with pretended_cuda(monkeypatch):
        state, there = Memory(), on_cuda("mlp")
        with pytest.raises(Interrupted):
            train_network(there, RECIPE, 0, state=state, progress=Stopping(3))  # type: ignore[arg-type]
        found = train_network(there, RECIPE, 0, state=state)  # type: ignore[arg-type]
    assert same(found.tensors, expected.tensors)


@pytest.mark.parametrize("augmentation", [(), ("pad-crop",)])
def test_stacked(augmentation: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.override(augmentation=augmentation)
    expected = train_stacked(workspace("mlp"), recipe, [0, 1])  # type: ignore[arg-type]
    with pretended_cuda(monkeypatch) as pretended:
        state, there = Memory(), on_cuda("mlp")
        with pytest.raises(Interrupted):
            train_stacked(there, recipe, [0, 1], state=state, progress=Stopping(3))  # type: ignore[arg-type]
        pretended.waits.clear()
        found = train_stacked(there, recipe, [0, 1], state=state)  # type: ignore[arg-type]
    assert all(same(one.tensors, other.tensors) for one, other in zip(found, expected, strict=True))
    assert not [place for _, place in pretended.waits if place in ("stacked.py:step", "augment.py:cut_windows")]


def test_no_state_is_saved_after_a_loss_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are looked at late on a GPU, but before each save: nothing could go on from such a state."""
    recipe = Recipe(epochs=2, batch_size=32, lr=1e30)
    with pretended_cuda(monkeypatch):
        state = Memory(save_every=0.0)
        with pytest.raises(StarcliError, match="the loss became"):
            train_network(on_cuda("mlp"), recipe, 0, state=state)  # type: ignore[arg-type]
        saved = state.load()
    assert state.diverged
    assert saved is None or all(map(math.isfinite, saved["losses"]))
