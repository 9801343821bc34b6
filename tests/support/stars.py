"""Small star runs: their recipe, settings, and how one is stopped and compared."""

import pytest
import torch
from support.training import Memory, Stopping

from starcli.runtime.progress import Interrupted
from starcli.star.sampling import uniform_t
from starcli.star.source_bank import SourceBank
from starcli.star.starlight import starlight
from starcli.star.starlight_step import HeldOut, OnLines, StarSettings
from starcli.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=48, lr=0.05)


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def objective_of(workspace, models, **changes):
    settings = {"mu": 0.0, "normalised": False, "sampling": uniform_t, "realign_every": 1, "method": None}
    settings |= {"restarts": 1, "draws_per_step": 1} | changes
    bank = SourceBank(models, workspace.network(9))
    return OnLines(workspace, bank, RECIPE, 0, StarSettings(**settings), HeldOut((), 1), Stopping())


def stopped_run(pauses, *arguments, **options):
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            starlight(*arguments, state=state, progress=Stopping(pause), **options)
    return starlight(*arguments, state=state, **options)


OPTIONS = [
    {},
    {"mu": 1.0, "draws_per_step": 2, "sampling": "beta"},
    {"realign_every": 2},
    {"realign_every": None, "restarts": 2},
    {"method": None},
]
