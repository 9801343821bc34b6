"""PyTorch's files: tensors and plain data come back as torch reads them, all else is skipped and named."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from starcli.files.pickled_values import Skipped, skipped_in
from starcli.files.pickles import load_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 300), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from([2, 3, 4, 5]), st.booleans())
@settings(max_examples=60)
def test_plain_data_come_back(tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int, new: bool) -> None:
    path = tmp_path_factory.mktemp("x") / "x.pt"
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    assert load_pickle(path) == value


def parameter_with_attributes() -> Tensor:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "mine"  # type: ignore[attr-defined]
    return parameter


BASE = torch.arange(24.0).reshape(4, 6)

TENSORS = {
    "float64": BASE.double(),
    "bfloat16": BASE.bfloat16(),
    "complex64": BASE.to(torch.complex64),
    "uint16": torch.arange(5).to(torch.uint16),
    "float8": torch.ones(3).to(torch.float8_e4m3fn),
    "bool": BASE > 3,
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 3),
    "transposed": BASE.t(),
    "part": BASE[1:3, 2:],
    "steps": BASE[::2, ::3],
    "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(BASE.clone()),
    "parameter with attributes": parameter_with_attributes(),
    "base": BASE,
}


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("new", [True, False])
def test_tensors_come_back(tmp_path: Path, new: bool, mapped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=new)
    found = load_pickle(path, mapped=mapped)
    for name, expected in TENSORS.items():
        assert (found[name].dtype, found[name].stride()) == (expected.dtype, expected.stride())
        assert found[name].tolist() == expected.tolist()
    assert found["part"].untyped_storage().data_ptr() == found["base"].untyped_storage().data_ptr()


def test_a_file_that_another_program_packed_anew_is_read(tmp_path: Path) -> None:
    """Its members are not aligned as torch aligns them."""
    torch.save({"a": BASE, "b": BASE.double() + 1}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as old, zipfile.ZipFile(tmp_path / "y.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("x/", "anything/"), old.read(name))
    found = load_pickle(tmp_path / "y.pt")
    assert torch.equal(found["a"], BASE)
    assert torch.equal(found["b"], BASE.double() + 1)


def test_long_texts_beside_the_weights_are_read(tmp_path: Path) -> None:
    content = {"a": BASE, "history": [n / 7 for n in range(300_000)], "vocabulary": "word " * 2_000_000}
    torch.save(content, tmp_path / "x.pt")
    assert load_pickle(tmp_path / "x.pt")["history"] == content["history"]


def test_what_is_skipped_is_named_by_place() -> None:
    twice = [Skipped("a.B")]
    value = {"x": twice, "y": {"z": (1, Skipped("c.D"))}, "again": twice}
    assert skipped_in(value) == {"x.0": "a.B", "y.z.1": "c.D"}
    twice.append(twice)  # type: ignore[arg-type]
    assert skipped_in(twice) == {"0": "a.B"}


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    """As a forged file could ask for it: other parts of the file, or of the memory, are never read."""
    torch.save({"a": torch.zeros(4)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as old, zipfile.ZipFile(tmp_path / "y.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"K\x04\x85", b"K\x05\x85") if name.endswith(".pkl") else content)
    with pytest.raises(ValueError, match="beyond its storage"):
        load_pickle(tmp_path / "y.pt")
