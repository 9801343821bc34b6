"""Shortest names that tell files apart."""

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcli.files.names import shortest_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["ckpts/0.pt", "ckpts/1.pt"], ["0.pt", "1.pt"]),
        (["run1/model", "run2/model"], ["run1/model", "run2/model"]),
        (["x/run1/model", "x/run2/model", "other"], ["run1/model", "run2/model", "other"]),
        (["a/run/model", "b/run/model", "last/model"], ["a/run/model", "b/run/model", "last/model"]),
        (["model", "run/model"], ["model", "run/model"]),
        (["../model", "model"], ["../model", "model"]),
        (["/home/me/run/model", "run/model"], ["me/run/model", "run/model"]),
        (["/model", "run/model"], ["/model", "run/model"]),
        (["-", "x/stdin"], ["stdin", "x/stdin"]),
        (["run/model", "run/model"], ["model", "model"]),
    ],
    ids=str,
)
def test_names(paths, names):
    assert shortest_names([Path(path) for path in paths]) == names


parts = st.sampled_from(["a", "b", "c", ".."])
files = st.builds(
    lambda root, within: Path(root, *within), st.sampled_from(["", "/"]), st.lists(parts, min_size=1, max_size=4)
)


@given(st.lists(files, max_size=6))
def test_names_are_the_shortest_ends_that_tell_apart(paths):
    names = shortest_names(paths)
    for path, name in zip(paths, names, strict=True):
        own = PurePath(name).parts
        assert path.parts[-len(own) :] == own
        others = [other.parts for other in paths if other != path]
        for length in range(1, len(own)):  # fewer parts would not do
            assert any(other[-length:] == own[-length:] for other in others)
        if own != path.parts:
            assert not any(other[-len(own) :] == own for other in others)
    assert all(
        (a == b) == (m == n) for a, m in zip(paths, names, strict=True) for b, n in zip(paths, names, strict=True)
    )
