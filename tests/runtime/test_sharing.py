"""Work dealt out to ranks: who does what, worked out in one process."""

import pytest

from starcli.runtime import distributed, sharing


@pytest.mark.parametrize(
    ("count", "waves", "size", "together"),
    [
        (3, [], 1, True),  # a single process
        (1, [], 2, False),  # nothing to share
        (1, [1], 2, False),
        (1, [2], 2, True),
        (2, [2], 2, False),  # dealt out, each rank has one
        (3, [2, 1, 1], 4, False),
        (2, [2, 1, 1, 2, 4] + 11 * [8] + [3], 64, True),
        (7, [2, 1, 1, 2, 4] + 11 * [8] + [3], 8, False),
        (10, [2, 1, 1, 2, 4] + 124 * [8], 16, False),  # waves of 8 leave half of the ranks idle
    ],
)
def test_items_are_shared_where_that_is_faster(count, waves, size, together, monkeypatch):
    monkeypatch.setattr(distributed, "_world", distributed._World(size - 1, size))
    assert sharing.own_share(count, waves) == (count if together else len(range(size - 1, count, size)))
