"""Sources that are no solutions are named."""

import pytest
from support.stars import RECIPE, search_star
from support.training import Stopping

from starcli.data.splits import MemorySplit
from starcli.star.check_sources import first_losses, outliers
from starcli.star.source_bank import Source


def test_a_source_that_is_no_solution_is_named(mlp, mlps):
    fresh = mlp.network(5).state()
    watcher = Stopping()
    recipe = RECIPE.override(epochs=1)
    search_star(mlp, [*mlps, Source("fresh", lambda: fresh)], recipe, 0, progress=watcher)
    assert len(watcher.notes) == 1
    assert "fresh" in watcher.notes[0]
    quiet = Stopping()
    search_star(mlp, mlps, recipe, 0, progress=quiet)
    assert quiet.notes == []


def test_what_counts_as_an_outlier():
    assert outliers([0.1, 0.2, 0.1, 2.3]) == [3]
    assert outliers([1.4, 1.3, 1.6]) == []
    assert outliers([0.0, 2.0]) == [1]


def test_first_losses_are_losses(mlp, mlps, monkeypatch):
    from starcli.evaluation.evaluator import score_network

    monkeypatch.setattr("starcli.star.check_sources.LOSS_EXAMPLES", len(mlp.dataset.train))
    flat = mlp.network()
    flat.load(mlps[0].open())
    expected = score_network(flat.network, mlp.dataset.train, batch_size=200, device=mlp.device).loss
    assert first_losses(mlp, mlps)[0] == pytest.approx(expected, rel=1e-5)


def test_first_losses_look_everywhere(mlp, mlps, monkeypatch):
    """The first examples of a folder are all of its first class."""
    asked, batches = [], MemorySplit.batches

    def noting(self, *arguments, **options):
        asked.extend(options["order"].tolist())
        return batches(self, *arguments, **options)

    monkeypatch.setattr(MemorySplit, "batches", noting)
    monkeypatch.setattr("starcli.star.check_sources.LOSS_EXAMPLES", 32)
    first_losses(mlp, mlps[:1])
    assert len(set(asked)) == 32
    assert max(asked) > len(mlp.dataset.train) * 3 / 4
