"""Small star runs: their recipe, settings, and how one is stopped and compared."""

from types import SimpleNamespace

import pytest
from support.training import Memory, Stopping

from starcli.alignment.alignment import Alignment
from starcli.averaging.sampling import uniform_t
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Interrupted
from starcli.star.settings import StarSettings
from starcli.star.source_bank import SourceBank
from starcli.star.star_search import StarSearch
from starcli.star.starlight import starlight
from starcli.star.starlight_step import OnLines

RECIPE = Recipe(epochs=3, batch_size=48, lr=0.05)


def settings_of(**options):
    """Settings of a star; `method`, `restarts` and `kinds` are its alignment's."""
    how = {name: options.pop(name) for name in ("method", "restarts", "kinds") if name in options}
    return StarSettings(alignment=Alignment(**how), **options)


def objective_of(workspace, models, **changes):
    settings = settings_of(**{"sampling": uniform_t, "method": None, "draws_per_step": 1} | changes)
    bank = SourceBank(models, workspace.network(9))
    return OnLines(workspace, bank, RECIPE, 0, settings, (), Stopping())


def checkpoint_of(source):
    """A source as the checkpoint that it would be of."""
    return Checkpoint(source.open(), Metadata(), source.name, reopen=source.open)


def search_star(workspace, sources, recipe, seed, *, init=None, turns=None, held_out=(), **options):
    """`starlight` of sources, with its settings as plain arguments; `turns` as of a star that grows."""
    run = {name: options.pop(name) for name in ("state", "progress") if name in options}
    search = StarSearch(
        recipe=recipe,
        settings=settings_of(**options),
        seed=seed,
        sources=[*map(checkpoint_of, sources)],
        init=None if init is None else Checkpoint(init, Metadata(), "init"),
        growth=None if turns is None else SimpleNamespace(turns=lambda: turns),
        held_out=[*map(checkpoint_of, held_out)],
    )
    return starlight(workspace, search, **run)


def stopped_run(pauses, *arguments, **options):
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            search_star(*arguments, state=state, progress=Stopping(pause), **options)
    return search_star(*arguments, state=state, **options)


OPTIONS = [
    {},
    {"mu": 1.0, "draws_per_step": 2, "sampling": "beta"},
    {"realign_every": 2, "noise": 0.3},
    {"realign_every": None, "restarts": 2},
    {"method": None},
    {"turns": [0, 1, 2, 2, 2]},
    {"realign_drift": 0.1},
    {"realign_every": "drawn"},
    {"realign_noise": 1.0, "pull": 0.01, "draws_per_step": 2},
]
