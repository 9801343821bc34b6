"""What was learned is not learned again, and a stopped lesson goes on, to the bit."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.learned.learner import Learner
from starcli.alignment.matching.method import Match
from starcli.files.cache_contents import cache_contents
from starcli.runtime.progress import Interrupted, Progress
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

MLP = {"hidden_dim": 6, "depth": 2, "batch_norm": "none"}
METHODS = ("learn", "straight-through")
"""One with scales, which an optimiser remembers, and one that begins anew in each round."""


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pair() -> tuple[Workspace, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Two perceptrons, their spec and kinds proved."""
    models = [sc.train("mlp", "digits", limit=200, epochs=4, seed=seed, arch_args=MLP) for seed in (0, 1)]
    workspace = new_workspace(Choices(arch="mlp", arch_args=MLP, data="digits", limit=200))
    assert workspace.kinds.groups
    return workspace, models[0].tensors, models[1].tensors


class _Stops(Progress):
    """Counts steps, and asks to stop after so many."""

    def __init__(self, after: int) -> None:
        self.after, self.told = after, []

    def step(self, count: int = 1, **_: float) -> None:
        self.told.append(count)
        if sum(self.told) >= self.after:
            self.stop_signal = 2


def same(one: Match, other: Match) -> bool:
    ours, theirs = one.symmetry.to_tensors(), other.symmetry.to_tensors()
    equal = all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    return ours.keys() == theirs.keys() and equal and one.figures() == other.figures()


def kept() -> dict[str, int]:
    return {found.kind: found.files for found in cache_contents() if found.kind in ("lessons", "matches")}


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_lesson_goes_on_and_ends_as_if_it_had_not_stopped(method: str, pair, fresh_cache: Path) -> None:
    workspace, a, b = pair
    aligner = Aligner(Alignment(method, steps=90, examples=32), workspace)
    with sc.no_cache():
        expected = aligner.match(a, b)
    for after in (1, 50):
        with pytest.raises(Interrupted):
            aligner.match(a, b, progress=_Stops(after))
        assert kept() == {"lessons": 1}
    watcher = _Stops(1000)
    found = aligner.match(a, b, progress=watcher)
    assert same(found, expected)
    assert watcher.told[0] == 40  # the round that was not finished is taken again
    assert sum(watcher.told) == 90
    assert kept() == {"matches": 1}


@pytest.mark.parametrize("method", METHODS)
def test_what_was_learned_is_found_again_unless_something_is_different(
    method: str, pair, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, a, b = pair
    how = Alignment(method, steps=3, examples=32)
    found = Aligner(how, workspace).match(a, b)
    monkeypatch.setattr(Learner, "_best", lambda *_, **__: pytest.fail("learns"))
    watcher = _Stops(1000)
    assert same(found, Aligner(how, workspace).match(a, b, progress=watcher))
    assert sum(watcher.told) == 3
    other = new_workspace(Choices(arch="mlp", arch_args=MLP, data="digits", limit=199))
    for learns in (
        lambda: Aligner(how, workspace).match(b, a),
        lambda: Aligner(how, workspace).match(a, b, seed=1),
        lambda: Aligner(Alignment(method, steps=4, examples=32), workspace).match(a, b),
        lambda: Aligner(how, other).match(a, b),
    ):
        with pytest.raises(pytest.fail.Exception, match="learns"):
            learns()


def test_a_damaged_entry_counts_as_none(pair, fresh_cache: Path) -> None:
    workspace, a, b = pair
    aligner = Aligner(Alignment("straight-through", steps=3, examples=32), workspace)
    found = aligner.match(a, b)
    [entry] = (fresh_cache / "starcli" / "matches").iterdir()
    for text in ('{"tensors": "AAAA", "figures": {}}', '{"tensors": 1}', "[]"):
        entry.write_text(text)
        assert same(aligner.match(a, b), found)


def test_barrier_after_align_learns_nothing(starcli, solutions, tmp_path: Path, fresh_cache: Path) -> None:
    words = [*solutions.some(0, 1), "--align-steps", "3"]
    ran = starcli("align", *words, "--method", "learn", "-o", tmp_path / "b.safetensors")
    assert ran.status == 0, ran.err
    ran = starcli("barrier", *words, "--align", "learn", "--points", "3")
    assert ran.status == 0, ran.err
    assert "1 of 2 results from the cache" in ran.err
    assert kept() == {"matches": 1}


def test_seconds_are_those_of_learning(starcli, solutions, tmp_path: Path, fresh_cache: Path) -> None:
    """What is read from the cache took no time that says anything; without the cache it is learned again."""
    words = ["align", *solutions.some(0, 1), "--align-steps", "3", "--method", "learn", "-o"]
    first, again, anew = (
        starcli(*words, tmp_path / f"{name}.safetensors", *more).rows[0]["seconds"]
        for name, *more in (["first"], ["again"], ["anew", "--no-cache"])
    )
    assert first > 0
    assert again is None
    assert anew > 0
