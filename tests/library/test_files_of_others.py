"""Files of others through the library: the same reader and notes as on the command line."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import starcli as sc
from starcli.library.notes import StarcliWarning


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of Lightning's with a loss and averages beside the network."""
    paths = []
    for number in (0, 1):
        torch.manual_seed(number)
        raw, averaged = network().state_dict(), network().state_dict()
        wrapped = {f"model.{name}": tensor for name, tensor in raw.items()} | {"loss.weight": torch.ones(10)}
        paths.append(tmp_path / f"{number}.ckpt")
        torch.save({"state_dict": wrapped, "ema": {"state_dict": averaged}, "place": tmp_path}, paths[-1])
    return paths


def notes(call: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    assert all(each.category is StarcliWarning for each in caught)
    return found, [str(each.message) for each in caught]


def test_files_are_measured_as_the_modules_that_they_hold(files: list[Path]) -> None:
    found, said = notes(lambda: sc.evaluate(files[0], arch=network, data="digits"))
    module = network()
    content: dict[str, dict[str, Tensor]] = torch.load(files[0], weights_only=False)
    weights = content["state_dict"]
    module.load_state_dict({name[6:]: each for name, each in weights.items() if name.startswith("model.")})
    expected, _ = notes(lambda: sc.evaluate(module, data="digits"))
    assert found[0]["nll"] == expected[0]["nll"]
    assert "0.ckpt: takes state_dict; averaged weights lie there too: key='ema.state_dict' chooses them" in said
    assert "0.ckpt: left out what lies outside the network, model.*: loss.weight" in said


def test_load_chooses_and_says_so_once_for_all_files(files: list[Path]) -> None:
    both, said = notes(lambda: sc.load(*files))
    assert said[0].startswith("0.ckpt, 1.ckpt: takes state_dict; averaged weights lie there too: ")
    assert said[1].startswith("0.ckpt, 1.ckpt: skipped, for only tensors and plain data are read: place (pathlib.")
    assert len(said) == 2
    assert "loss.weight" in both[0].tensors
    chosen, said = notes(lambda: sc.load(files[0], key="ema.state_dict"))
    assert len(said) == 1
    network().load_state_dict(dict(chosen.tensors))
    bare, _ = notes(lambda: sc.load(files[0], ignore=["loss.*"]))
    assert all(name.startswith("model.") for name in bare.tensors)


def test_several_that_could_be_meant_are_told_with_the_line_that_helps(tmp_path: Path) -> None:
    torch.save({"a": network().state_dict(), "b": network().state_dict()}, tmp_path / "x.pt")
    with pytest.raises(sc.StarcliError, match=r'the first one: sc\.load\(.*key="a"') as caught:
        sc.load(tmp_path / "x.pt")
    assert "key says which one is meant" in str(caught.value)


def test_save_writes_shards_that_load_reads(tmp_path: Path) -> None:
    model = sc.train("mlp", "digits", epochs=1, limit=60)
    index = sc.save(model, tmp_path / "a.safetensors", shard_size="1kB")
    assert index.name == "a.safetensors.index.json"
    assert len(list(tmp_path.glob("a-*.safetensors"))) > 1
    found = sc.load(tmp_path)
    assert (found.sha256, found.metadata.seed) == (model.sha256, model.metadata.seed)
    assert sc.describe(index).metadata == found.metadata
    with pytest.raises(sc.StarcliError, match="force=True overwrites it"):
        sc.save(model, tmp_path / "a.safetensors", shard_size=1_000)
    assert sc.save(model, tmp_path / "folder", shard_size="1kB") == tmp_path / "folder" / "model.safetensors.index.json"
    assert sc.load(tmp_path / "folder").sha256 == model.sha256
    sc.save(network(), tmp_path / "b.safetensors", shard_size=1_000)
    network().load_state_dict(dict(sc.load(tmp_path / "b.safetensors.index.json").tensors))
    with pytest.raises(sc.StarcliError, match="no size in bytes"):
        sc.save(model, tmp_path / "c.safetensors", shard_size="much")
    again = sc.save(model, tmp_path / "d.safetensors.index.json", shard_size="1kB")
    assert sc.load(again).sha256 == model.sha256


def test_save_refuses_the_name_of_another_kind_of_file(tmp_path: Path) -> None:
    for name in ("a.csv", "a.safetensors.index.json"):
        with pytest.raises(sc.StarcliError, match="are named so, as "):
            sc.save(network(), tmp_path / name)
    assert sc.save(network(), tmp_path / "a.PT").exists()
