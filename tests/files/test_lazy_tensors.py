"""Tensors that are made one by one: their file is the one that they would have been written to at once."""

import torch
from safetensors.torch import load_file
from support.tensors import same

from starcli.checkpoints import checkpoint
from starcli.checkpoints.hashes import file_sha256
from starcli.checkpoints.metadata import Metadata
from starcli.files.lazy_tensors import LazyTensors, TensorForm, write_lazily
from starcli.files.slices import HeldTensor, sliced_tensors
from starcli.files.write import write_tensors

TENSORS = {
    "b": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
    "a": torch.arange(4.0).reshape(2, 2),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "half": torch.arange(3).bfloat16(),
    "count": torch.tensor(7),
}


def lazy(made=None):
    def make(name):
        if made is not None:
            made.append(name)
        return TENSORS[name]

    return LazyTensors({name: HeldTensor(tensor).form for name, tensor in TENSORS.items()}, make)


def test_the_file_has_the_bytes_of_one_that_is_written_at_once(tmp_path):
    same = {name: TENSORS[name] for name in ("a", "b", "scalar")}
    forms = {name: HeldTensor(tensor).form for name, tensor in same.items()}
    write_lazily(tmp_path / "lazy.safetensors", LazyTensors(forms, same.__getitem__), lambda: {"k": "v"})
    write_tensors(tmp_path / "whole.safetensors", same, {"k": "v"})
    assert (tmp_path / "lazy.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_checkpoint_is_written_with_its_hash_and_each_tensor_is_made_once(tmp_path):
    made = []
    path = tmp_path / "a.safetensors"
    stored = checkpoint.write(path, lazy(made), Metadata(seed=3))
    assert made == sorted(TENSORS)
    assert stored.weights_sha256 == file_sha256(path)
    found = checkpoint.read(path)
    assert found.metadata == stored
    assert same(found.tensors, TENSORS)
    assert same(load_file(path), TENSORS)


def test_shards_are_written_one_by_one(tmp_path):
    index = tmp_path / "m.safetensors.index.json"
    stored = checkpoint.write(index, lazy(), Metadata(seed=3), shard_size=40)
    found = checkpoint.read(index)
    assert found.metadata == stored
    assert same(found.tensors, TENSORS)
    assert len(list(tmp_path.glob("m-*.safetensors"))) > 2


def test_slices_are_those_of_the_tensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {})
    for name, part in sliced_tensors(tmp_path / "a.safetensors").items():
        assert part.form == TensorForm(HeldTensor(TENSORS[name]).form.dtype, tuple(TENSORS[name].shape))
        whole = TENSORS[name].reshape(-1)
        assert torch.equal(part.read(0, part.form.numel), whole)
        if part.form.numel > 2:
            assert torch.equal(part.read(1, 3), whole[1:3])
