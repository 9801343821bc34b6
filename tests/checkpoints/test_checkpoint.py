"""Checkpoints: bytes that do not change, metadata that is checked, families that are refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from starcli.checkpoints import checkpoint, several
from starcli.checkpoints.checkpoint import SMALL_BYTES
from starcli.checkpoints.hashes import file_sha256, weights_sha256
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.files.write import write_tensors
from starcli.workspace.stamp import stamps

LARGE = SMALL_BYTES // 4 + 1
"""Numbers of a tensor whose file is mapped anew at each use."""


def saved(path: Path, value: float = 1.0, size: int = 3, **fields: object) -> checkpoint.Checkpoint:
    checkpoint.write(path, {"w": torch.full((size,), value)}, Metadata(**fields))
    return checkpoint.read(path, kinds=("model", "star", "fused", "permutation"))


def test_the_same_content_gives_the_same_bytes_wherever_it_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / f"{name}.safetensors", seed=3, metrics={"z": 1.0, "a": 2.0})
    first, second = (tmp_path / name / f"{name}.safetensors" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_the_hash_is_of_the_weights_alone(tmp_path: Path) -> None:
    one = saved(tmp_path / "1", seed=1)
    two = saved(tmp_path / "2", seed=2)
    other = saved(tmp_path / "3", value=2.0, seed=1)
    assert one.sha256 == two.sha256 != other.sha256
    assert one.sha256 == weights_sha256(one.tensors) == file_sha256(tmp_path / "1")


def test_ancestry_keeps_all_generations_once(tmp_path: Path) -> None:
    sources = [saved(tmp_path / f"{index}", value=float(index)) for index in range(3)]
    parents, ancestors = checkpoint.ancestry(sources)
    star = saved(tmp_path / "star", value=9.0, kind="star", parents=parents, ancestors=ancestors)
    parents, ancestors = checkpoint.ancestry([star, sources[0]])
    assert parents == [star.sha256, sources[0].sha256]
    assert {ancestor.sha256 for ancestor in ancestors} == {star.sha256, *(source.sha256 for source in sources)}
    assert next(a for a in ancestors if a.kind == "star").parents == [source.sha256 for source in sources]


def test_a_foreign_file_reads_without_metadata(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    write_tensors(path, {"w": torch.zeros(2)}, {"format": "pt"})
    read = checkpoint.read(path)
    assert read.metadata == Metadata()
    assert read.sha256 == weights_sha256(read.tensors)


BAD_METADATA = {
    "no json": ("{", "not readable"),
    "nested": ('{"recipe":' + '{"a":' * 200 + "1" + "}" * 201, "nested too deeply"),
    "unknown key": ('{"import": "os"}', "import"),
    "wrong type": ('{"seed": "three"}', "seed"),
    "a list": ("[]", "not in our form"),
    "newer": (json.dumps({"format": 99, "program": "9.9"}), "format 99 by starcli 9.9"),
    "too deep for python": ("[" * 100_000, "not readable"),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_bad_metadata_is_one_clear_error(name: str, tmp_path: Path) -> None:
    text, message = BAD_METADATA[name]
    path = tmp_path / "bad.safetensors"
    write_tensors(path, {"w": torch.zeros(2)}, {"starcli": text})
    with pytest.raises(StarcliError, match=message):
        checkpoint.read(path)


def test_wrong_kind_and_repeated_models_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "p", kind="permutation")
    with pytest.raises(StarcliError, match="holds a permutation, wanted a model"):
        checkpoint.read(tmp_path / "p")
    saved(tmp_path / "a")
    saved(tmp_path / "b")
    with pytest.raises(StarcliError, match="same weights") as caught:
        several.read_all([tmp_path / "a", tmp_path / "b"])
    assert caught.value.problems == ("b has the same weights as a",)


def test_all_unreadable_files_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(StarcliError) as caught:
        several.read_all([tmp_path / "a", tmp_path / "b"])
    assert len(caught.value.problems) == 2


def test_a_file_opened_anew_has_the_same_tensors_and_one_in_memory_has_its_own(tmp_path: Path) -> None:
    found = saved(tmp_path / "a", size=LARGE)
    assert torch.equal(found.fresh_tensors()["w"], found.tensors["w"])
    assert found.fresh_tensors()["w"].data_ptr() != found.tensors["w"].data_ptr()
    small = saved(tmp_path / "b", size=LARGE - 1)
    assert small.fresh_tensors() is small.tensors
    other = checkpoint.Checkpoint({"w": torch.zeros(3)}, found.metadata, found.name, found.path)  # an aligned one
    assert not other.fresh_tensors()["w"].any()


@pytest.mark.parametrize("size", [3, LARGE])
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_file_that_is_replaced_stays_what_was_read(change: str, size: int, tmp_path: Path) -> None:
    """Its hash was taken: a star would be of other sources than those that it records."""
    found = saved(tmp_path / "a", size=size)
    before = found.tensors["w"].clone()
    if change == "replaced":
        checkpoint.write(tmp_path / "a", {"w": before + 1}, Metadata())
    else:
        (tmp_path / "a").unlink()
    assert torch.equal(found.fresh_tensors()["w"], before)


def test_a_foreign_file_is_hashed_once_for_all_its_results(monkeypatch):
    hashed = []
    monkeypatch.setattr(checkpoint, "weights_sha256", lambda tensors: hashed.append(tensors) or "0123456789abcdef")
    model = checkpoint.Checkpoint({}, Metadata(), "foreign")
    facts = {"name": "digits", "fingerprint": "f" * 64, "task": "classes", "limit": None, "val_fraction": 0.0}
    dataset = SimpleNamespace(**facts, tested=None)
    stamp = stamps(SimpleNamespace(dataset=dataset, precision="fp32", builder=object()))
    assert [stamp([model, model])["weights"] for _ in range(3)] == [["0123456789ab"] * 2] * 3
    assert len(hashed) == 1
