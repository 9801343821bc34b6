"""idx, .npz, .safetensors and the public sets: real readers on small files of the same formats, and forged ones."""

import contextlib
import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.data import IMAGES, LABELS, RNG, idx, raw, refused, write_idx

from starcli.data.arrays import read_npz, read_safetensors
from starcli.data.dataset import open_data
from starcli.data.idx import read_idx
from starcli.errors import StarcliError


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")])
def test_idx(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    write_idx(tmp_path / "d", pack, suffix)
    data = open_data(f"idx:{tmp_path / 'd'}")
    assert (data.name, data.input_shape, data.num_classes) == ("idx", (1, 5, 4), 3)
    assert np.array_equal(raw(data)[0][:, 0], IMAGES[:20])
    assert np.array_equal(raw(data)[1][:, 0], IMAGES[20:])
    assert data.train.labels.tolist() == LABELS[:20].tolist()
    assert data.mean[0] == pytest.approx(IMAGES[:20].mean() / 255, rel=1e-12)
    assert data.std[0] == pytest.approx(IMAGES[:20].std() / 255, rel=1e-12)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    contents = idx(IMAGES[:2])
    packed = gzip.compress(contents) if suffix else contents
    path = tmp_path / f"x{suffix}"
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        refused(lambda: read_idx(path, 3), str(path))
    path.write_bytes(gzip.compress(contents + b"!") if suffix else contents + b"!")
    refused(lambda: read_idx(path, 3), "expected 40")


def test_idx_headers_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"abc")
    refused(lambda: read_idx(path, 3), "3 bytes after the header")
    path.write_bytes(bytes((0, 0, 13, 3)) + struct.pack(">3I", 1, 1, 1) + b"abcd")
    refused(lambda: read_idx(path, 3), "not an idx file")
    path.write_bytes(idx(LABELS))
    refused(lambda: read_idx(path, 3), "not an idx file")
    path.write_bytes(idx(IMAGES[:0]))
    refused(lambda: read_idx(path, 3), "is empty")
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**10, 2**10)))
    refused(lambda: read_idx(packed, 3), "decompression bomb")
    packed.write_bytes(b"\x1f\x8b no gzip")
    refused(lambda: read_idx(packed, 3), str(packed))


def test_idx_bomb_unfolds_no_further_than_its_header(tmp_path: Path) -> None:
    # A header of 4 images before a gigabyte of zeros: one byte past the payload is enough to refuse it.
    path = tmp_path / "x.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(idx(IMAGES[:4]))
        for _ in range(64):
            stream.write(bytes(1 << 20))
    refused(lambda: read_idx(path, 3), "more bytes after the header, expected 80")


def test_idx_directories(tmp_path: Path) -> None:
    refused(lambda: open_data(f"idx:{tmp_path}"), "t10k-labels-idx1-ubyte[.gz]", "train-images-idx3-ubyte[.gz]")
    write_idx(tmp_path / "d", bytes, "")
    (tmp_path / "d/train-labels-idx1-ubyte").write_bytes(idx(LABELS[:19]))
    refused(lambda: open_data(f"idx:{tmp_path / 'd'}"), "19 labels for 20 images")


def test_npz_pairs_and_single(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, train_images=IMAGES[:20], train_labels=LABELS[:20], test_images=IMAGES[20:],
                        test_labels=LABELS[20:], other=np.array([object()]))  # fmt: skip
    four = open_data(str(path))
    assert (four.name, four.input_shape) == ("arrays", (1, 5, 4))
    assert np.array_equal(raw(four)[1][:, 0], IMAGES[20:])
    np.savez(path, x=IMAGES, y=LABELS[:, None].astype(np.int16))
    one = open_data(str(path))
    assert (len(one.train), len(one.test)) == (24, 6)
    assert sorted(one.test.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert open_data(f"arrays:{path}").fingerprint == one.fingerprint != four.fingerprint


def test_safetensors_equals_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=IMAGES, labels=LABELS)
    save_file({"images": IMAGES, "labels": LABELS}, tmp_path / "d.safetensors")
    assert open_data(str(tmp_path / "d.npz")).fingerprint == open_data(str(tmp_path / "d.safetensors")).fingerprint


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((30, 7), (7,)), ((30, 5, 4), (1, 5, 4)), ((30, 3, 5, 4), (3, 5, 4)), ((30, 5, 4, 3), (3, 5, 4)),
     ((30, 5, 8, 9), (5, 8, 9)), ((30, 5, 4, 1), (1, 5, 4)), ((30, 8, 5, 4), (4, 8, 5))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_array_layouts(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], dtype: type) -> None:
    images = (RNG.rand(*shape) * 200).astype(dtype)
    np.savez(tmp_path / "d.npz", images=images, labels=LABELS)
    data = open_data(str(tmp_path / "d.npz"))
    assert data.input_shape == expected
    inputs = torch.cat([x for x, _ in data.train.batches(7)]).double()
    if dtype != np.uint8:  # floats are as they are
        assert data.mean == (0.0,)
        assert data.std == (1.0,)
        return
    flat = inputs.transpose(0, 1).flatten(1) if len(expected) == 3 else inputs.flatten()[None]
    torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat)).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(1, correction=0), torch.ones(len(flat)).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES.astype(np.int64), LABELS, "expected uint8 or float"),
        (np.full((30, 2), np.nan), LABELS, "NaN or infinite"),
        (np.full((30, 2), 1e300), LABELS, "NaN or infinite"),
        (IMAGES, LABELS[:10] + 0.5, "30 examples and 10 labels"),
        (IMAGES, LABELS[:10], "30 examples and 10 labels"),
        (IMAGES[0, 0], LABELS, "expected (N, D)"),
        (IMAGES[:, :0], LABELS, "expected (N, D)"),
        (IMAGES, np.full(30, 2**64 - 1, dtype=np.uint64), "out of range"),
        (IMAGES, LABELS.astype(np.int64) - 1, "label -1"),
        (IMAGES, LABELS * 0, "only one class"),
        (IMAGES, LABELS.astype(np.int64) * 10**9, "too large"),
        (np.array([object()] * 30), LABELS, "pickled objects"),
    ],
)
def test_array_faults(tmp_path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], words: str) -> None:
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    refused(lambda: open_data(str(tmp_path / "d.npz")), str(tmp_path / "d.npz"), words)


def test_array_files_that_are_not(tmp_path: Path) -> None:
    refused(lambda: open_data(str(tmp_path / "none.npz")), "no such file")
    (tmp_path / "d.npz").write_bytes(b"hello")
    (tmp_path / "d.safetensors").write_bytes(b"hello")
    refused(lambda: open_data(str(tmp_path / "d.npz")), "cannot be read as .npz")
    refused(lambda: open_data(str(tmp_path / "d.safetensors")), "not a whole safetensors file")
    (tmp_path / "d.safetensors").write_bytes(struct.pack("<Q", 90 << 20) + b"{" * 100)
    refused(lambda: open_data(str(tmp_path / "d.safetensors")), "its header is longer")
    np.savez(tmp_path / "k.npz", pictures=IMAGES)
    refused(lambda: open_data(str(tmp_path / "k.npz")), "train_images", "found pictures")
    refused(lambda: open_data(f"arrays:{tmp_path / 'd.zip'}"), "unknown suffix")


def test_npz_bomb_and_lying_headers(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("images.npy", "w") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "|u1", "fortran_order": False, "shape": (160 << 20, 1)}
            )
            for _ in range(160):
                stream.write(bytes(1 << 20))
        archive.writestr("labels.npy", b"")
    refused(lambda: read_npz(path), "decompression bomb")
    for shape in ((10**15,), (4, -1), (5,)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", header.getvalue() + b"abc")
            archive.writestr("labels.npy", header.getvalue() + b"abc")
        refused(lambda: read_npz(path), "images: 3 bytes")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".npz", ".safetensors"]))
def test_damaged_array_files_never_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, images=IMAGES, labels=LABELS)
    else:
        save_file({"images": IMAGES, "labels": LABELS}, path)
    contents = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(contents[: data.draw(st.integers(0, len(contents)))])
    with contextlib.suppress(StarcliError):
        (read_npz if suffix == ".npz" else read_safetensors)(path)


@pytest.mark.parametrize("kind", ["f4", "u1"])
def test_arrays_without_examples_are_named(tmp_path, kind):
    rows, labels = np.zeros((4, 3), kind), np.arange(4) % 2
    np.savez(tmp_path / "none.npz", x=rows[:0], y=labels[:0])
    np.savez(tmp_path / "part.npz", x_train=rows, y_train=labels, x_test=rows[:0], y_test=labels[:0])
    refused(lambda: open_data(str(tmp_path / "none.npz")), "none.npz: x: no examples in it")
    refused(lambda: open_data(str(tmp_path / "part.npz")), "part.npz: x_test: no examples in it")
