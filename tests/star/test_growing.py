"""How often a star that grows draws its sources, and how long."""

from collections import Counter

import pytest

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.recipes.recipe import Recipe
from starcli.star.growing import Growth


def growth(old: int, new: int, dropped: int = 0, epochs: int = 25) -> Growth:
    star, *sources = (Checkpoint({}, Metadata(), str(number)) for number in range(old + new + 1))
    names = tuple(map(str, range(dropped)))
    return Growth(star, sources, tuple(range(old, old + new)), names, Recipe(epochs=epochs))


@pytest.mark.parametrize(("old", "new"), [(5, 1), (5, 2), (50, 7)])
def test_half_of_the_draws_are_of_new_sources_and_each_kind_is_drawn_alike(old, new):
    turns = Counter(growth(old, new).turns())
    assert turns.keys() == set(range(old + new))
    assert sum(turns[number] for number in range(old)) == sum(turns[number] for number in range(old, old + new))
    assert len({turns[number] for number in range(old)}) == len({turns[old + number] for number in range(new)}) == 1


@pytest.mark.parametrize(("old", "new"), [(3, 3), (2, 5), (5, 0)])
def test_all_sources_are_drawn_alike_where_new_ones_are_half_or_none(old, new):
    assert growth(old, new).turns() is None


def test_the_price_is_the_share_of_what_changes():
    assert [growth(*counts).recipe().epochs for counts in ((5, 2), (5, 0, 2), (5, 5), (4, 1, 5), (24, 1))] == [
        8, 8, 13, 15, 1,
    ]  # fmt: skip
    assert growth(5, 2).recipe(3).epochs == 3
