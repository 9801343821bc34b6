"""Files of permutations and elements: round trips, composition in order, and what belongs to another network."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.element_file import read_symmetry
from starcli.checkpoints.checkpoint import read, read_metadata, write
from starcli.library.align import PermutedModel
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation


def network(activation: type[nn.Module] = nn.ReLU, width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), activation(), nn.Linear(width, 5), nn.Identity(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def model() -> PermutedModel:
    return sc.permute(network(), seed=0, input_shape=(4,))


def close(one: sc.Checkpoint, other: sc.Checkpoint) -> bool:
    return all(torch.allclose(one.tensors[name], other.tensors[name], atol=1e-5) for name in one.tensors)


def test_files_read_back_as_what_was_written(model, tmp_path):
    for kinds in ("permutation", "all"):
        moved = sc.permute(model, seed=3, kinds=kinds)
        path = moved.save_symmetry(tmp_path / f"{kinds}.safetensors")
        assert same(load_file(path), dict(read(path, kinds=("permutation", "element")).tensors))
        again = sc.permute(model, by=path)
        assert same(dict(again.tensors), dict(moved.tensors))
        assert type(again.symmetry) is type(moved.symmetry)
        assert close(sc.permute(again, by=path, invert=True), model)
        with pytest.raises(sc.StarcliError, match="force=True overwrites it"):
            moved.save_symmetry(path)


def test_a_file_of_an_element_says_what_it_is(model, tmp_path):
    path = sc.permute(model, seed=3, kinds="all").save_symmetry(tmp_path / "e.safetensors")
    metadata, kinds = read_metadata(path)[1], model.workspace.kinds
    assert (metadata.kind, metadata.spec.sha256) == ("element", model.workspace.spec.resolved.sha256)
    assert metadata.spec.kinds == kinds.sha256
    assert set(load_file(path)) == {"units.0", "units.2", "scales:units.0", "matrix:units.2"}
    found, sha256 = read_symmetry(path, model.workspace.spec.resolved, lambda: kinds)
    assert (type(found), sha256) == (Element, metadata.weights_sha256)


def test_a_permutation_file_has_nothing_that_it_did_not_have(model, tmp_path):
    path = sc.permute(model, seed=3).save_symmetry(tmp_path / "p.safetensors")
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"units.0", "units.2"}
        assert list(file.metadata()) == ["starcli"]
    metadata = read_metadata(path)[1].model_dump(mode="json")
    assert metadata["kind"] == "permutation"
    assert set(metadata["spec"]) == {"resolved", "sha256", "proof"}


def test_elements_and_permutations_compose_in_the_order_that_is_said(model, tmp_path):
    one, two = (sc.permute(model, seed=seed, kinds="all") for seed in (1, 2))
    plain = sc.permute(model, seed=4)
    files = [each.save_symmetry(tmp_path / f"{n}.safetensors") for n, each in enumerate((one, two, plain))]
    apart = sc.permute(sc.permute(sc.permute(model, by=files[0]), by=files[1]), by=files[2])
    together = sc.permute(model, by=files)
    assert close(together, apart)
    assert not close(together, sc.permute(model, by=files[::-1]))
    assert close(sc.permute(together, by=files, invert=True), model)
    whole = together.save_symmetry(tmp_path / "whole.safetensors")
    assert same(dict(sc.permute(model, by=whole).tensors), dict(together.tensors))
    twice = sc.permute(model, by=[plain.symmetry, files[2]])
    assert isinstance(twice.symmetry, Permutation)
    assert same(dict(twice.tensors), dict(sc.permute(plain, by=files[2]).tensors))


def test_what_is_in_memory_is_recorded_as_its_file_would_be(model, tmp_path):
    for kinds in ("permutation", "all"):
        moved = sc.permute(model, seed=3, kinds=kinds)
        path = moved.save_symmetry(tmp_path / f"{kinds}.safetensors")
        assert sc.permute(model, by=moved.symmetry).metadata == sc.permute(model, by=path).metadata


def test_what_aligned_a_model_is_kept_too(model, tmp_path):
    other = sc.permute(model, seed=5)
    back = sc.align(model, other)
    path = back.save_symmetry(tmp_path / "p.safetensors")
    assert same(dict(sc.permute(other, by=path).tensors), dict(back.tensors))
    assert read_metadata(path)[1].aligned_to == back.metadata.aligned_to


def element_file(model: PermutedModel, directory: Path) -> tuple[Path, dict[str, Tensor]]:
    path = sc.permute(model, seed=3, kinds="all").save_symmetry(directory / "e.safetensors")
    return path, load_file(path)


def test_an_element_of_another_network_is_refused(model, tmp_path):
    path, _ = element_file(model, tmp_path)
    with pytest.raises(sc.StarcliError, match=r"e\.safetensors: permutes another network's groups"):
        sc.permute(network(width=7), by=path, input_shape=(4,))
    tanh = network(nn.Tanh)
    with pytest.raises(sc.StarcliError, match=r"e\.safetensors: this element acts by other kinds"):
        sc.permute(tanh, by=path, input_shape=(4,))
    with pytest.raises(sc.StarcliError, match="this element acts by other kinds"):
        sc.permute(tanh, by=sc.permute(model, seed=3, kinds="all").symmetry, input_shape=(4,))
    with pytest.raises(sc.StarcliError, match="no permutation of the spec's groups"):
        sc.permute(network(width=7), by=sc.permute(model, seed=3).symmetry, input_shape=(4,))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("scales:units.0", -torch.ones(1, 6).double(), "scales are positive"),
        ("scales:units.0", torch.ones(1, 7).double(), "not torch.float64"),
        ("matrix:units.2", torch.zeros(5, 5).double(), "no inverse"),
        ("matrix:units.2", torch.full((5, 5), torch.inf).double(), "finite"),
        ("signs:units.0", torch.ones(1, 6).double(), "the network has none"),
        ("units.0", torch.zeros(6).long(), "stands twice"),
    ],
)
def test_damaged_values_are_named(model, tmp_path, name, value, problem):
    path, tensors = element_file(model, tmp_path)
    write(path, {**tensors, name: value}, read_metadata(path)[1])
    with pytest.raises(sc.StarcliError, match=r"e\.safetensors: these tensors are no") as error:
        sc.permute(model, by=path)
    assert problem in " ".join(error.value.problems)


def test_what_makes_no_sense_is_said(model):
    for words in ({}, {"by": []}, {"by": model.symmetry, "seed": 1}):
        with pytest.raises(sc.StarcliError, match="one of by and seed"):
            sc.permute(model, **words)
    with pytest.raises(sc.StarcliError, match="kinds is of a random element"):
        sc.permute(model, by=model.symmetry, kinds="all")
    with pytest.raises(sc.StarcliError, match="unknown kinds 'both'"):
        sc.permute(model, seed=1, kinds="both")
    with pytest.raises(sc.StarcliError, match="by: an int"):
        sc.permute(model, by=[3])
