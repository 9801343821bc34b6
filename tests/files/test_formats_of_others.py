"""Weights in files of other programs: what they are is said, and what is said to help does."""

import bz2
import gzip
import lzma
import pickle
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.program import run_here
from support.refused import refused
from support.tensors import same
from torch import nn
from torch.distributed.checkpoint import save as save_distributed

from starcli.checkpoints import checkpoint
from starcli.errors import StarcliError

NETWORK = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
STATE = NETWORK.state_dict()


def said(path: Path) -> str:
    with pytest.raises(StarcliError) as caught:
        checkpoint.read(path)
    refused(run_here("inspect", path), str(caught.value).splitlines()[0])
    return str(caught.value).replace(str(path), "FILE")


OTHERS = {
    "a.weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "a file of Keras or HDF5"),
    "a.bin": (b"GGUF\3\0\0\0" + bytes(500), "a GGUF file of llama.cpp"),
    "a.gguf": (b"GGUF\3\0\0\0" + bytes(500), "a GGUF file of llama.cpp"),
    "a.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(500), "a file of ONNX"),
    "a.msgpack": (b"\x81\xa6params\x81\xa5dense" + bytes(500), "a file of Flax"),
    "a.pdparams": (pickle.dumps({"w": np.ones(3)}), "a file of PaddlePaddle"),
    "a.pt.gz": (gzip.compress(bytes(500)), "a compressed file (gzip)"),
    "a.pth": (bz2.compress(bytes(500)), "a compressed file (bzip2)"),
    "a.pt": (lzma.compress(bytes(500)), "a compressed file (xz)"),
    "a.ckpt": (b"\x28\xb5\x2f\xfd" + bytes(500), "a compressed file (zstd)"),
}
"""Content of a file of each name, and what it is called."""


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_program_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    content, words = OTHERS[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert said(path).startswith(f"FILE: is {words}, which is not read\n  ")


def test_archives_say_what_lies_in_them(tmp_path: Path) -> None:
    whole = tmp_path / "net.pt"
    torch.save(STATE, whole)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(whole, "net.pt")
    assert said(tmp_path / "a.tar") == "FILE: is a tar archive, which is not read\n  unpack it first"
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.write(whole, "inside/net.pt")
    assert said(tmp_path / "a.pt").endswith("; unpack it: inside/net.pt lies in it")
    torch.save(STATE, tmp_path / "checkpoint.pth.tar")  # a common name of what is no tar archive
    assert same(checkpoint.read(tmp_path / "checkpoint.pth.tar").tensors, STATE)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt"])
@pytest.mark.parametrize("content", [STATE, {"w": np.ones(3)}], ids=["torch", "numpy"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_that_torch_did_not_save(tmp_path: Path, suffix: str, content: Any, protocol: int) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps(content, protocol))
    assert said(path).startswith("FILE: is not read: a pickle that torch.save did not write; torch.save(")


@pytest.mark.parametrize("suffix", [".pkl", ".model", ".pt"])
def test_a_file_of_torch_in_its_old_format_is_known_by_its_beginning(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for protocol in (2, 3, 4):
        torch.save(STATE, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        assert same(checkpoint.read(path).tensors, STATE)


def test_a_distributed_checkpoint_is_made_one_file_by_what_is_said(tmp_path: Path) -> None:
    place = tmp_path / "dcp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a single process, which only some versions say
        save_distributed({"model": STATE}, checkpoint_id=place)
    summary, way = said(place).splitlines()
    assert summary == "FILE: is a distributed checkpoint of PyTorch, which is not read"
    [part] = place.glob("*.distcp")
    assert said(part).startswith("FILE: is a part of a distributed checkpoint of PyTorch, which is not read")
    line = way.partition(" makes one file of it")[0].replace("FILE", str(place)).split()
    subprocess.run([sys.executable, *line[1:-1], str(tmp_path / "new.pt")], check=True, capture_output=True)
    assert same(checkpoint.read(tmp_path / "new.pt").tensors, STATE)


def test_the_program_of_an_export_gives_its_weights_by_what_is_said(tmp_path: Path) -> None:
    path, new = tmp_path / "a.pt2", tmp_path / "new.pt"
    torch.export.save(torch.export.export(NETWORK, (torch.zeros(1, 4),)), path)
    code = said(path).partition("of torch.export: ")[2].replace("FILE", repr(str(path))).replace("NEW", repr(str(new)))
    subprocess.run([sys.executable, "-c", f"import torch; {code}"], check=True, capture_output=True)
    assert same(checkpoint.read(new).tensors, STATE)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("saved_model.pb", "variables/variables.index"), "a model of TensorFlow"),
        (("checkpoint", "model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"), "a model of TensorFlow"),
        (("_CHECKPOINT_METADATA", "default/_METADATA"), "a checkpoint of Orbax"),
        (("latest", "zero_to_fp32.py"), "a checkpoint of DeepSpeed"),
        (("zero_pp_rank_0_mp_rank_00_optim_states.pt",), "a checkpoint of DeepSpeed"),
    ],
)
def test_directories_of_other_programs(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).touch()
    assert said(tmp_path / "a").startswith(f"FILE: is {words}, which is not read\n")


def test_quantised_weights_are_called_so(tmp_path: Path) -> None:
    """As GPTQ's, whose tensors a network does not have."""
    packed = {"0.qweight": torch.zeros(1, 8, dtype=torch.int32), "0.scales": torch.zeros(1, 8)}
    torch.save(packed, tmp_path / "a.pt")
    ran = run_here("convert", tmp_path / "a.pt", "--arch", "mlp", "--data", "digits", "-o", tmp_path / "b.safetensors")
    refused(ran, "  a.pt: its weights are quantised, which is not supported")
