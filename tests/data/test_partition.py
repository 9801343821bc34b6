"""Splits and limits: partitions, balance, determinism, and the errors of labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcli.data.partition import balanced_prefix, check_labels, held_out_fifth, split_indices
from starcli.errors import StarcliError


@given(n=st.integers(2, 300), fraction=st.floats(0, 0.9), seed=st.integers(0, 2**32 - 1))
def test_split_indices_is_a_partition(n: int, fraction: float, seed: int) -> None:
    try:
        train, validation = split_indices(n, fraction, seed)
    except StarcliError:
        assert max(1, round(n * fraction)) >= n
        return
    assert sorted([*train, *validation]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert len(validation) == (max(1, round(n * fraction)) if fraction else 0)
    again = split_indices(n, fraction, seed)
    assert (again[1] == validation).all()


def test_split_of_the_paper_is_frozen() -> None:
    # These positions are part of every checkpoint's meaning: they must never change.
    assert split_indices(20, 0.2, 0)[1].tolist() == [1, 8, 18, 19]


@pytest.mark.parametrize(("fraction", "seed"), [(1.0, 0), (-0.1, 0), (float("nan"), 0), (0.1, -1), (0.1, 2**32)])
def test_split_indices_refuses(fraction: float, seed: int) -> None:
    with pytest.raises(StarcliError):
        split_indices(10, fraction, seed)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=200))
def test_held_out_fifth_is_stratified(labels: list[int]) -> None:
    values = np.array(labels)
    train, test = held_out_fifth(values)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for c in range(6):
        assert abs(int((values[test] == c).sum()) - int((values == c).sum()) / 5) < 1


def test_held_out_fifth_is_frozen() -> None:
    """Each fifth image of the classes one behind the other, each in the order of NumPy's shuffle with seed 0."""
    labels = np.random.RandomState(1).randint(0, 7, 500)
    shuffled = np.random.RandomState(0).permutation(500).tolist()
    dealt = [position for label in range(7) for position in shuffled if labels[position] == label]
    assert held_out_fifth(labels)[1].tolist() == sorted(dealt[::5])


@pytest.mark.parametrize(("n", "fraction"), [(1, 0.5), (2, 0.75), (3, 0.9)])
def test_a_fraction_that_leaves_nothing_to_train_on_is_refused(n: int, fraction: float) -> None:
    with pytest.raises(StarcliError, match=f"leaves none of {n} images"):
        split_indices(n, fraction, 0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=100), st.integers(1, 120))
def test_balanced_prefix_equals_dealing_by_hand(labels: list[int], limit: int) -> None:
    seen: dict[int, int] = {}
    ranked = []
    for position, label in enumerate(labels):
        ranked.append((seen.setdefault(label, 0), position))
        seen[label] += 1
    expected = sorted(position for _, position in sorted(ranked)[:limit])
    assert balanced_prefix(np.array(labels), limit).tolist() == expected


def test_balanced_prefix_of_sorted_classes_has_them_all() -> None:
    labels = np.repeat(np.arange(10), 50)
    assert np.bincount(labels[balanced_prefix(labels, 25)]).tolist() == [3] * 5 + [2] * 5
    assert len(balanced_prefix(labels, None)) == 500
    with pytest.raises(StarcliError, match="at least 1"):
        balanced_prefix(labels, 0)


@pytest.mark.parametrize(
    ("train", "test", "counts", "classes", "words"),
    [
        ([], [0], (0, 1), None, "no images"),
        ([0, 1], [0], (2, 3), None, "1 label for 3 images"),
        ([0, -1], [0], (2, 1), None, "label -1 at position 1"),
        ([0, 0], [0], (2, 1), None, "only one class"),
        ([0, 900], [0], (2, 1), None, "too large for 2 images"),
        ([0, 1], [0, 2], (2, 2), None, "label 2 at position 1"),
        ([0, 10], [0], (2, 1), 10, "expected 0 to 9"),
    ],
)
def test_check_labels_names_the_fault(
    train: list[int], test: list[int], counts: tuple[int, int], classes: int | None, words: str
) -> None:
    named = [("a", np.array(train, dtype=np.int64), counts[0]), ("b", np.array(test, dtype=np.int64), counts[1])]
    with pytest.raises(StarcliError) as caught:
        check_labels(named, classes)
    assert words in str(caught.value)
