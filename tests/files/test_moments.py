"""Checkpoints that another process replaces while they are read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from starcli.checkpoints import checkpoint
from starcli.checkpoints.lineage import describe
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.files import safetensors, shards
from starcli.files.moments import Moment, of_one_moment


def model(path: Path, seed: int) -> str:
    """Write a model of its own weights, and its metadata's hash of them."""
    weights = {"w": torch.full((4,), float(seed))}
    return checkpoint.write(path, weights, Metadata(seed=seed)).weights_sha256


@pytest.mark.parametrize("module", [safetensors, shards])
def test_a_file_that_is_replaced_between_its_header_and_its_weights_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object
) -> None:
    path, left = tmp_path / "x.safetensors", [1, 2]
    model(path, 0)
    read_header = safetensors.read_header

    def replaced_after(place: Path) -> safetensors.Header:
        header = read_header(place)
        if left:
            model(path, left.pop(0))
        return header

    monkeypatch.setattr(module, "read_header", replaced_after)
    if module is safetensors:
        found = checkpoint.read(path)
        assert (found.metadata.seed, found.tensors["w"].tolist()) == (2, [2.0] * 4)
    else:
        described = describe(path, verify=True)
        assert (described.metadata.seed, described.verified) == (2, True)
    assert not left


def growing(path: Path, told: list[int]) -> Callable[[Moment], None]:
    """A reader of a file that is being copied here: it is not whole, and longer each time."""

    def read(_: Moment) -> None:
        told.append(len(told))
        path.unlink(missing_ok=True)
        path.write_text("x" * len(told))
        raise StarcliError("not whole")

    return read


def test_a_file_that_changes_all_the_time_is_an_error_in_the_end(tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(StarcliError, match="not whole"):
        of_one_moment(tmp_path / "x", growing(tmp_path / "x", told))
    assert 1 < len(told) < 10


def test_an_error_of_a_file_that_stays_as_it_is_is_told_at_once(tmp_path: Path) -> None:
    told: list[int] = []

    def read(_: Moment) -> None:
        told.append(1)
        raise StarcliError("not whole")

    with pytest.raises(StarcliError, match="not whole"):
        of_one_moment(tmp_path / "x", read)
    assert told == [1]
