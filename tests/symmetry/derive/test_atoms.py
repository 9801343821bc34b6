"""Arrays of labels: numpy's answers, sooner."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from starcli.symmetry.derive.algebra import relate
from starcli.symmetry.derive.atoms import Atoms, components, distinct, distinct_rows, unique


def cases():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 5), (7, 2), (60, 3), (200, 1), (0, 4)):
        for top in (2, 300, 2**40):
            yield rng.integers(0, top, shape)
    yield np.arange(60).reshape(20, 3).T  # not contiguous
    yield np.broadcast_to(np.arange(3), (4, 3))
    yield np.arange(12).reshape(6, 2)[::-1]


@pytest.mark.parametrize("rows", list(cases()), ids=lambda rows: f"{rows.shape[0]}x{rows.shape[1]}")
def test_rows_and_labels_as_numpy_sorts_them(rows):
    kinds, index = distinct_rows(rows)
    expected, back = np.unique(rows, axis=0, return_inverse=True)
    assert np.array_equal(kinds, expected)
    assert np.array_equal(index, back.reshape(-1))
    assert np.array_equal(unique(rows.reshape(-1)), np.unique(rows))
    names, place = distinct(rows)
    assert np.array_equal(names, np.unique(rows))
    assert np.array_equal(names[place] if rows.size else rows, rows)


@pytest.mark.parametrize("seed", range(5))
def test_components_as_scipy_finds_them(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, 30, (2, 12))
    number, found = components(30, rows, columns)
    edges = (rows.astype(np.int32), columns.astype(np.int32))  # scipy up to 1.11 takes no other integers
    expected, labels = connected_components(coo_array((np.ones(12), edges), shape=(30, 30)), directed=False)
    assert number == expected
    assert len(set(zip(found.tolist(), labels.tolist(), strict=True))) == number


@pytest.mark.parametrize(
    ("pairs", "fixed"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3)], []),
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 1)], [0, 1, 2, 3]),  # the two sets touch
        ([(0, 0), (0, 1), (1, 0), (2, 2), (2, 3), (3, 2), (3, 3)], [0, 1]),  # a pair is missing
        ([(0, 0), (0, 1), (1, 0), (2, 2), (2, 3), (3, 3)], [0, 1, 2, 3]),  # one in each
    ],
)
def test_sets_that_meet_in_whole_products_get_one_parent_each_and_others_are_fixed(pairs, fixed):
    atoms = Atoms()
    a, b = atoms.new(4), atoms.new(4)
    i, j = np.array(pairs).T
    assert relate(atoms, a[i], b[j], "here") == "both"
    assert np.flatnonzero(atoms.is_fixed(a)).tolist() == fixed
    assert np.flatnonzero(atoms.is_fixed(b)).tolist() == fixed
    parents = {}
    for child, parent in zip(*(each.tolist() for each in atoms.edges()), strict=True):
        parents.setdefault(parent, set()).add(child)
    whole = [[*a[k], *b[k]] for k in (slice(0, 2), slice(2, 4)) if k.start not in fixed]
    assert sorted(map(sorted, parents.values())) == whole
