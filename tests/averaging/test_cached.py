"""Averages that are kept: recalled where all that decides them is the same, and what their rows say beside."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import Stopping

from starcli.alignment.alignment import Alignment
from starcli.alignment.measure import Measure
from starcli.averaging.bma import Draws, average_models
from starcli.averaging.cached import average_rows, posterior_rows
from starcli.averaging.sampling import PointSampling
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import AlignedTo, Metadata
from starcli.errors import StarcliError
from starcli.evaluation.renormalise import Renormalise
from starcli.evaluation.scoring import Scoring
from starcli.evaluation.temperature import NOT_FITTED
from starcli.files.cache import cache_directory, no_cache, using_cache
from starcli.runtime.progress import Interrupted
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

SMALL = Choices(arch="mlp", arch_args={"hidden_dim": 4}, data="digits", limit=60, val_fraction=0.3, device="cpu")
DRAWS = Draws(samples=3, repeats=2, seed=0)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(SMALL)


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> list[Checkpoint]:
    return [Checkpoint(workspace.network(seed=seed).state(), Metadata(), f"m{seed}") for seed in range(4)]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def half(generator: torch.Generator) -> float:
    """A way of drawing of the caller's own."""
    return 0.5


def test_averages_are_recalled_where_all_that_decides_them_is_the_same(
    workspace: Workspace, models: list[Checkpoint]
) -> None:
    star, *sources = models
    measure, scoring, of_validation = (
        Measure(workspace),
        Scoring(workspace.dataset),
        Scoring(workspace.dataset, "validation"),
    )
    ways: dict[str, tuple[Any, ...]] = {
        "plain": (measure, star, sources, scoring, DRAWS),
        "seed": (measure, star, sources, scoring, replace(DRAWS, seed=1)),
        "samples": (measure, star, sources, scoring, replace(DRAWS, samples=2)),
        "repeats": (measure, star, sources, scoring, replace(DRAWS, repeats=3)),
        "points": (measure, star, sources, scoring, replace(DRAWS, points=PointSampling("uniform", in_turn=True))),
        "temperature": (measure, star, sources, Scoring(workspace.dataset, temperature=2.0), DRAWS),
        "choose": (measure, star, sources, Scoring(workspace.dataset, choose=True), DRAWS),
        "split": (Measure(workspace, split="validation"), star, sources, of_validation, DRAWS),
        "alignment": (Measure(workspace, Alignment("weight")), star, sources, scoring, DRAWS),
        "renormalised": (Measure(workspace, renormalise=Renormalise("repair")), star, sources, scoring, DRAWS),
        "star": (measure, sources[0], [star, *sources[1:]], scoring, DRAWS),
        "order": (measure, star, sources[::-1], scoring, DRAWS),
    }
    first = {}
    for name, way in ways.items():
        with using_cache() as use:
            first[name] = posterior_rows(*way)
        assert (use.found["averages"], use.missing["averages"]) == (0, 1), name
    for name, way in ways.items():
        with using_cache() as use:
            assert repr(posterior_rows(*way)) == repr(first[name])  # nan is not itself
        assert (use.found["averages"], use.missing["averages"]) == (1, 0), name
    with no_cache():
        assert repr(posterior_rows(*ways["choose"])) == repr(first["choose"])
    assert len(first["choose"]) == len(first["plain"]) + 2
    own = replace(DRAWS, points=PointSampling(half))
    for _ in range(2):  # what a function draws is not known by its name
        with using_cache() as use:
            posterior_rows(measure, star, sources, scoring, own)
        assert not {"averages", "bma"} & {*use.found, *use.missing, *use.kept}


def test_rows_are_those_of_the_models_as_they_were_aligned(workspace: Workspace, models: list[Checkpoint]) -> None:
    star, *sources = models
    measure, scoring = Measure(workspace, Alignment("weight")), Scoring(workspace.dataset)
    aligned = measure.aligner.tensors_of_all(star, sources)
    expected = average_models(measure.evaluator(), star.tensors, aligned, DRAWS, scoring=scoring)
    assert posterior_rows(measure, star, sources, scoring, DRAWS) == expected


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_stopped_average_goes_on_with_the_parts_that_are_missing(
    workspace: Workspace, models: list[Checkpoint], after: int
) -> None:
    star, *sources = models
    scoring, stopping = Scoring(workspace.dataset), Stopping(after)
    with pytest.raises(Interrupted):
        posterior_rows(Measure(workspace, progress=stopping), star, sources, scoring, DRAWS)
    kept = len([*(cache_directory() / "bma").glob("*")])
    with using_cache() as use:
        found = posterior_rows(Measure(workspace), star, sources, scoring, DRAWS)
    assert use.found["bma"] == kept > 0
    assert not [*(cache_directory() / "bma").glob("*")]  # there is the whole
    with no_cache():
        assert posterior_rows(Measure(workspace), star, sources, scoring, DRAWS) == found


def test_what_rows_say_beside_is_of_what_they_average(workspace: Workspace, models: list[Checkpoint]) -> None:
    star, *sources = models
    scoring = Scoring(workspace.dataset)
    draws = replace(DRAWS, points=PointSampling("beta:2,1"))
    for how, title, own in (
        (Alignment("none"), "none", None),
        (Alignment("none", seed=5), "none", None),
        (Alignment("weight", seed=5), "weight, 1 restart", 5),
        (Alignment("weight", seed=0), "weight, 1 restart", None),
    ):
        measure = Measure(workspace, how, renormalise=Renormalise(logits=True))
        rows = [*average_rows(measure, star, sources, scoring, draws)]
        assert {row["posterior"] for row in rows} == {"single", "star", "ensemble"}
        for row in rows:
            assert (row["split"], row["seed"], row["statistics"]) == ("test", 0, "recalibrate")
            assert (row["alignment"], row.get("alignment_seed")) == (title, own)
            of_star = row["posterior"] == "star"
            assert row["renormalise"] == ("recalibrate, logits" if of_star else "recalibrate")
            assert row.get("sampling") == ("beta:2,1" if of_star else None)


@pytest.mark.parametrize(("copies", "at_once", "fits"), [(3.5, 3, False), (5, 3, True), (5, 2, False), (7, 2, True)])
def test_averages_that_do_not_fit_are_refused_before_any_work(
    workspace: Workspace,
    models: list[Checkpoint],
    copies: float,
    at_once: int,
    fits: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four copies of 360 predictions of 10 classes; in pieces each of the two repeats holds a sum in between."""
    monkeypatch.setattr("starcli.runtime.memory.free_bytes", lambda: int(copies * 360 * 10 * 8))
    monkeypatch.setattr("starcli.averaging.cached.COUNTS_AT_ONCE", at_once)
    star, *sources = models
    watcher = Stopping()
    if fits:
        posterior_rows(Measure(workspace, progress=watcher), star, sources, Scoring(workspace.dataset), DRAWS)
    else:
        with pytest.raises(StarcliError, match="360 predictions of 10 classes"):
            posterior_rows(Measure(workspace, progress=watcher), star, sources, Scoring(workspace.dataset), DRAWS)
        assert watcher.resumed == -1  # no step


def test_sources_that_are_aligned_anew_are_named(workspace: Workspace, models: list[Checkpoint]) -> None:
    star, first, second = models[:3]
    how = Alignment("weight")
    told = AlignedTo(reference=star.sha256, method="weight", restarts=1, seed=0, objective=0.0)
    before = Checkpoint(first.tensors, Metadata(aligned_to=told), first.name)
    for alignment, said in ((how, True), (Alignment("none"), False)):
        watcher = Stopping()
        posterior_rows(
            Measure(workspace, alignment, progress=watcher), star, [before, second], Scoring(workspace.dataset), DRAWS
        )
        assert any("anew" in note for note in watcher.notes) is said


@pytest.mark.parametrize("missing", ["every", "the first", "no"])
def test_it_is_said_where_no_temperature_was_found(
    workspace: Workspace, models: list[Checkpoint], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    star, *sources = models
    left = itertools.count()
    last = {"every": 10**6, "the first": 0, "no": -1}[missing]
    monkeypatch.setattr("starcli.evaluation.scoring.fit_temperature", lambda *_: None if next(left) <= last else 2.0)
    for temperature in ("fit", None):
        watcher = Stopping()
        scoring = Scoring(workspace.dataset, temperature=temperature)
        for _ in range(2):  # measured, and recalled
            posterior_rows(Measure(workspace, progress=watcher), star, sources, scoring, DRAWS)
        assert watcher.notes.count(NOT_FITTED) == (2 if temperature and missing != "no" else 0)
