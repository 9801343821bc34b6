"""Checkpoints in shards: read by index or folder, from Hugging Face's files too, and never beyond their folder."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.disk import files_of_at_most
from support.tensors import same

from starcli.checkpoints import checkpoint
from starcli.checkpoints.hashes import weights_sha256
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.files.write_shards import check_shards, write_shards
from starcli.runtime.rehearsal import rehearsing

TENSORS = {f"layer{number}.weight": torch.full((number + 1, 10), float(number)) for number in range(5)}
INDEX = "model.safetensors.index.json"


def index_with(directory: Path, weight_map: Any, **more: Any) -> Path:
    path = directory / INDEX
    path.write_text(json.dumps({"metadata": {"total_size": 600}, "weight_map": weight_map, **more}))
    return path


def foreign(directory: Path) -> dict[str, str]:
    """Two files as another program writes them; the weight map."""
    names = list(TENSORS)
    parts = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for file, part in parts.items():
        save_file({name: TENSORS[name] for name in part}, directory / file, {"format": "pt"})
    return {name: file for file, part in parts.items() for name in part}


@pytest.mark.parametrize("by", ["index", "folder"])
def test_the_shards_of_others_are_read(by: str, tmp_path: Path) -> None:
    index = index_with(tmp_path, foreign(tmp_path))
    found = checkpoint.read(index if by == "index" else tmp_path)
    assert same(found.tensors, TENSORS)
    assert same(found.fresh_tensors(), TENSORS)
    assert found.sha256 == weights_sha256(TENSORS)
    header, metadata = checkpoint.read_metadata(tmp_path)
    assert (header.tensors["layer3.weight"].shape, metadata) == ((4, 10), Metadata())


def test_pickled_shards_are_read(tmp_path: Path) -> None:
    weight_map = {}
    for number, (name, tensor) in enumerate(TENSORS.items()):
        torch.save({name: tensor}, tmp_path / f"pytorch_model-{number}.bin")
        weight_map[name] = f"pytorch_model-{number}.bin"
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert same(checkpoint.read(tmp_path).tensors, TENSORS)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_with_one_whole_file_is_that_file(file: str, tmp_path: Path) -> None:
    if file.endswith(".bin"):
        torch.save(TENSORS, tmp_path / file)
    else:
        save_file(TENSORS, tmp_path / file)
        assert checkpoint.read_metadata(tmp_path)[0].tensors.keys() == TENSORS.keys()
        torch.save({}, tmp_path / "pytorch_model.bin")  # the same again; safetensors are preferred
    found = checkpoint.read(tmp_path)
    assert same(found.tensors, TENSORS)
    assert same(found.fresh_tensors(), TENSORS)
    assert found.sha256 == weights_sha256(TENSORS)


def test_a_folder_with_a_whole_file_and_shards_is_refused(tmp_path: Path) -> None:
    index_with(tmp_path, foreign(tmp_path))
    save_file(TENSORS, tmp_path / "model.safetensors")
    with pytest.raises(StarcliError, match=r"there is model.safetensors, model.safetensors.index.json"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("size", [1, 200, 10**9])
def test_ours_come_back_with_all_that_they_say(size: int, tmp_path: Path) -> None:
    index = tmp_path / INDEX
    stored = checkpoint.write(index, TENSORS, Metadata(seed=3), shard_size=size)
    found = checkpoint.read(tmp_path)
    assert same(found.tensors, TENSORS)
    assert found.metadata == stored
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    count = {1: 5, 200: 4, 10**9: 1}[size]  # bytes: 40, 80, 120, 160, 200
    assert shards == [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    content = json.loads(index.read_text())
    assert content["metadata"]["total_size"] == 600
    joined = {name: load_file(tmp_path / file)[name] for name, file in content["weight_map"].items()}
    assert same(joined, TENSORS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    checkpoint.write(index, TENSORS, Metadata(seed=3), shard_size=size)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_shards_of_an_older_checkpoint_go(tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(b"mine")
    write_shards(tmp_path / INDEX, TENSORS, {}, 1)
    write_shards(tmp_path / INDEX, TENSORS, {}, 10**9)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model-00001-of-00001.safetensors", "model-1.safetensors", INDEX,
    ]  # fmt: skip


def test_a_shard_that_was_changed_is_noticed(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / INDEX, TENSORS, Metadata(seed=3), shard_size=200)
    shard = tmp_path / "model-00001-of-00004.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(shard).items()}, shard)
    with pytest.raises(StarcliError, match="not those that its metadata speak of"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/x.safetensors", "..", "a/../x.safetensors", "a\\x.safetensors", "x\0.safetensors"]
)
def test_files_outside_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file(TENSORS, tmp_path / "x.safetensors")
    with pytest.raises(StarcliError, match="outside its folder"):
        checkpoint.read(index_with(inside, dict.fromkeys(TENSORS, name)))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    weight_map = foreign(tmp_path)
    index_with(tmp_path, {**weight_map, "more": "model-00001-of-00002.safetensors"})
    with pytest.raises(StarcliError, match=r"more: not in model-00001-of-00002.safetensors"):
        checkpoint.read(tmp_path)
    index_with(tmp_path, {name: file for name, file in weight_map.items() if name != "layer4.weight"})
    with pytest.raises(StarcliError, match=r"layer4.weight: in model-00002-of-00002.safetensors, but not by the index"):
        checkpoint.read(tmp_path)
    index_with(tmp_path, weight_map)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(StarcliError, match=r"model-00002-of-00002.safetensors does not lie beside it"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": ""}}',
     '{"weight_map": {"a": "x", "a": "y"}}', '{"metadata": 3, "weight_map": {"a": "x"}}', "[" * 10_000,
     '{"weight_map": {"a": "x"}, "n": NaN}'],
)  # fmt: skip
def test_what_is_no_index_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(StarcliError, match="no index of a checkpoint in shards"):
        checkpoint.read(tmp_path / INDEX)


def test_a_folder_without_one_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StarcliError, match="there is none"):
        checkpoint.read(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors.index.json").write_text("{}")
    with pytest.raises(StarcliError, match=r"there is a.safetensors.index.json, b.safetensors.index.json"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("name", [INDEX, "model-00001-of-00002.safetensors"])
def test_links_are_not_replaced_by_shards(name: str, tmp_path: Path) -> None:
    """Shards lie beside their index, and readers look for them beside the name that they open."""
    (tmp_path / "there").write_bytes(b"mine")
    (tmp_path / name).symlink_to("there")
    for refused in (
        lambda: check_shards(tmp_path / INDEX, force=True),
        lambda: write_shards(tmp_path / INDEX, TENSORS, {}, 200),
    ):
        with pytest.raises(StarcliError, match=f"{name}: is a link to there"):
            refused()
    assert ((tmp_path / name).is_symlink(), (tmp_path / "there").read_bytes()) == (True, b"mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to("elsewhere")
    write_shards(tmp_path / "folder" / INDEX, TENSORS, {}, 200)
    assert same(checkpoint.read(tmp_path / "elsewhere").tensors, TENSORS)


def test_a_disk_that_fills_between_two_shards_leaves_none_in_the_way(tmp_path: Path) -> None:
    index = tmp_path / "x.safetensors.index.json"
    tensors = {"a": torch.zeros(10), "b": torch.zeros(1000)}
    with pytest.raises(StarcliError, match="x-00002-of-00002"), files_of_at_most(1000):
        write_shards(index, tensors, {}, 100)
    assert list(tmp_path.iterdir()) == []
    check_shards(index)
    write_shards(index, tensors, {}, 100)
    assert len(list(tmp_path.iterdir())) == 3


def test_old_shards_are_kept_where_the_disk_has_no_room_for_new_ones(tmp_path: Path) -> None:
    index = tmp_path / INDEX
    write_shards(index, TENSORS, {}, 100)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StarcliError, match="model-00004-of-00005"), files_of_at_most(900):
        write_shards(index, {name: tensor.repeat(5, 1) for name, tensor in TENSORS.items()}, {}, 100)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_rehearsal_leaves_old_shards(tmp_path: Path) -> None:
    index = tmp_path / INDEX
    write_shards(index, TENSORS, {}, 100)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with rehearsing() as rehearsed:
        write_shards(index, TENSORS, {}, 10**9)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {path.name for path in rehearsed.files} == {INDEX, "model-00001-of-00001.safetensors"}


def test_a_writer_that_is_killed_leaves_one_whole_set_or_nothing_in_the_way(tmp_path: Path) -> None:
    """Before each of its renames and removals, one after the other; five shards become two."""
    new = {name: tensor + 1 for name, tensor in TENSORS.items()}
    seen = set()
    for count in range(100):
        place = tmp_path / str(count)
        index = place / INDEX
        place.mkdir()
        write_shards(index, TENSORS, {}, 1)
        if (child := os.fork()) == 0:
            _kill_before_change(count)
            write_shards(index, new, {}, 400)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if index.exists():
            found = checkpoint.read(place).tensors
            seen.add("new" if same(found, new) else "old")
            assert same(found, new) or same(found, TENSORS)
        else:
            seen.add("none")
            check_shards(index)
        write_shards(index, new, {}, 400)
        assert {path.name for path in place.iterdir()} == {
            INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        }  # fmt: skip
        assert same(checkpoint.read(place).tensors, new)
        if not killed:
            break
    assert (killed, seen) == (False, {"old", "none", "new"})


def _kill_before_change(number: int) -> None:
    """End this process before it renames or removes a file for the so-many-th time, counted from 0."""
    changes = iter(range(number + 1))

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("os.rename", "os.remove") and next(changes) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
