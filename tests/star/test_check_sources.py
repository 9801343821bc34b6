"""Sources that are no solutions are named."""

import pytest
from support.stars import RECIPE, search_star
from support.training import Stopping

from starcli.data.splits import MemorySplit
from starcli.star.check_sources import first_losses, outliers, warn_of_weak_star
from starcli.star.source_bank import Source


def test_a_source_that_is_no_solution_is_named(mlp, mlps):
    fresh = mlp.network(5).state()
    watcher = Stopping()
    recipe = RECIPE.override(epochs=1)
    search_star(mlp, [*mlps, Source("fresh", lambda: fresh)], recipe, 0, progress=watcher)
    assert len(watcher.notes) == 1
    assert "fresh" in watcher.notes[0]


@pytest.mark.parametrize(("mu", "what"), [(0.0, "the star of seed 4"), (1.0, "the fused model of seed 4")])
def test_a_star_that_is_no_solution_says_so_and_a_good_one_is_silent(mlp, mlps, mu, what):
    for epochs, expected in ((1, 1), (40, 0)):
        watcher = Stopping()
        star = search_star(mlp, mlps, RECIPE.override(epochs=epochs, lr=0.1), 4, mu=mu, progress=watcher)
        assert len(watcher.notes) == expected, (watcher.notes, star.metrics)
    watcher = Stopping()
    search_star(mlp, mlps, RECIPE.override(epochs=1), 4, mu=mu, progress=watcher)
    [note] = watcher.notes
    assert note.startswith(f"{what} is hardly a solution")
    assert all(word in note for word in ("--epochs", "--restarts", "wider", "on 128 training examples"))


def test_a_star_whose_loss_is_no_number_is_named(mlp, mlps):
    watcher = Stopping()
    broken = {n: t * float("nan") if t.is_floating_point() else t for n, t in mlps[0].open().items()}
    warn_of_weak_star(mlp, broken, [0.1, 0.2], "the star", watcher)
    [note] = watcher.notes
    assert "its training loss is nan" in note


def test_what_counts_as_an_outlier():
    assert outliers([0.1, 0.2, 0.1, 2.3]) == [3]
    assert outliers([1.4, 1.3, 1.6]) == []
    assert outliers([0.0, 2.0]) == [1]


def test_first_losses_are_losses(mlp, mlps, monkeypatch):
    from starcli.evaluation.scores import score_network

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
