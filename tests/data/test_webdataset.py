"""Tar shards against the arrays that went into them, against the package webdataset, and hostile ones."""

import gc
import io
import json
import tarfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.data import raw, refused

from starcli.data.dataset import open_data
from starcli.data.streaming import StreamedSplit
from starcli.data.tar_shards import shard_files
from starcli.data.text_options import TextOptions

IMAGES = np.random.RandomState(0).randint(0, 256, (20, 6, 6, 3)).astype(np.uint8)
CHANNELS_FIRST = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())


def png(image: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def examples(numbers: Sequence[int]) -> list[tuple[str, bytes]]:
    """An image and a class for each number."""
    images = [(f"{n:03d}.png", png(IMAGES[n])) for n in numbers]
    labels = [(f"{n:03d}.cls", b"%d" % (n % 3)) for n in numbers]
    return [member for both in zip(images, labels, strict=True) for member in both]


def arrays(content: bytes) -> list[tuple[str, bytes]]:
    """Two examples of this array."""
    return [("0.npy", content), ("0.cls", b"0"), ("1.npy", content), ("1.cls", b"1")]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shards")
    for name, numbers in (("train-0", range(8)), ("train-1", range(8, 14)), ("test-0", range(14, 20))):
        shard(place / f"{name}.tar", examples(numbers))
    return place


@pytest.mark.parametrize("name", ["", "/{train,test}-*.tar", "/{train-0,train-1,test-0}.tar"])
def test_images_are_in_order_and_in_their_splits(images: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(f"wds:{images}{name}")
    assert (data.num_classes, data.input_shape, data.notes) == (3, (3, 6, 6), ())
    assert raw(data)[0].equal(CHANNELS_FIRST[:14])
    assert raw(data)[1].equal(CHANNELS_FIRST[14:])
    assert data.train.labels.tolist() == [n % 3 for n in range(14)]
    assert data.test.names[0] == "test-0.tar/014.png"
    monkeypatch.setattr(StreamedSplit, "RESIDENT_BYTES", 0)
    streamed = open_data(f"wds:{images}{name}")
    assert isinstance(streamed.test, StreamedSplit)
    assert streamed.fingerprint == data.fingerprint
    [(found, _)], [(expected, _)] = streamed.test.batches(6), data.test.batches(6)
    assert found.equal(expected)


def test_a_fifth_of_images_is_held_out_without_test_shards(images: Path) -> None:
    data = open_data(f"wds:{images}/train-{{0..1}}.tar")
    assert any("a fifth is held out" in note for note in data.notes)
    train, test = raw(data)
    found = torch.cat([train, test])[np.argsort([*data.train.names, *data.test.names])]
    assert found.equal(CHANNELS_FIRST[:14])


def test_names_of_members_may_be_any_bytes(tmp_path: Path) -> None:
    strange = [(f"\udce9{name}", content) for name, content in examples(range(8))]
    data = open_data(f"wds:{shard(tmp_path / 'train-0.tar', strange)}")
    plain = open_data(f"wds:{shard(tmp_path / 'train-1.tar', examples(range(8)))}")
    assert all(each.equal(other) for each, other in zip(raw(data), raw(plain), strict=True))
    assert data.train.names is not None
    assert plain.train.names is not None
    assert data.train.names[0] == plain.train.names[0].replace("train-1.tar/", "train-0.tar/\udce9")


@pytest.mark.filterwarnings("ignore")  # the package leaves its files open
def test_test_shards_alone_are_measured_as_a_whole(images: Path, tmp_path: Path) -> None:
    """Their classes are the model's: here three of five. Nothing is held back, and nothing decoded twice."""
    known = TextOptions(unnamed=tuple("01234"))
    data = open_data(f"wds:{images}/test-0.tar", texts=known, val_fraction=0.5, limit=2)
    assert (data.num_classes, data.test.labels.tolist()) == (5, [n % 3 for n in range(14, 20)])
    assert raw(data)[1].equal(CHANNELS_FIRST[14:])
    assert data.train is data.test
    assert (data.val_fraction, data.limit) == (0.0, None)
    assert any("no shards of train: those of test stand for them too" in note for note in data.notes)
    rows = [("0.npy", npy(np.ones(2, "f4"))), ("0.cls", b"0"), ("1.npy", npy(np.zeros(2, "f4"))), ("1.cls", b"1")]
    arrays = open_data(f"wds:{shard(tmp_path / 'test-0.tar', rows)}", texts=known)
    assert (arrays.num_classes, arrays.test.labels.tolist()) == (5, [0, 1])
    assert arrays.train is arrays.test


def test_the_package_webdataset_reads_the_same(images: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = [str(path) for path in shard_files(str(images))["train"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves closing its files to the collector
        theirs = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("png", "cls"))
        gc.collect()
    data = open_data(f"wds:{images}")
    assert [label for _, label in theirs] == data.train.labels.tolist()
    np.testing.assert_array_equal(np.stack([image for image, _ in theirs]).transpose(0, 3, 1, 2), raw(data)[0])


def test_arrays_with_labels_in_json(tmp_path: Path) -> None:
    rows = np.random.RandomState(1).randn(10, 4).astype("f4")
    members = []
    for n, row in enumerate(rows):
        label = {"label": n % 2, "price": n / 4, "tags": [1, n % 2]}
        members += [(f"{n}.npy", npy(row)), (f"{n}.json", json.dumps(label).encode())]
    name = f"wds:{shard(tmp_path / 'all.tar', members)}"
    data = open_data(name)
    assert (data.num_classes, len(data.train), len(data.test), data.input_shape) == (2, 8, 2, (4,))
    assert {*map(tuple, torch.cat(raw(data)).tolist())} == {*map(tuple, rows.tolist())}
    assert open_data(name, texts=TextOptions(label_column="price")).task == "regression"
    assert open_data(name, texts=TextOptions(label_column="tags")).task == "multi-label"
    refused(lambda: open_data(name, texts=TextOptions(label_column="prize")), "all.tar: 0.json: no key 'prize'")


def test_faults_of_examples_are_named(images: Path, tmp_path: Path) -> None:
    shards = {
        "no cls among png": [*examples([0]), ("1.png", b"")],
        "no image among cls": [*examples([0]), ("1.cls", b"1")],
        "several inputs": [("0.png", b""), ("0.jpg", b""), ("0.cls", b"1")],
        "no label among png": [("0.png", b"")],
        "members of one example lie apart": [("0.png", b""), ("1.png", b""), ("0.cls", b"1")],
        "occurs twice": [("0.png", b""), ("0.PNG", b"")],
        "cannot be read as a number": [("0.png", b""), ("0.cls", b"cat")],
        "2 labels, one in the first": [*examples([0]), ("1.png", b""), ("1.cls", b"[1, 2]")],
        "x.tar/007.png: cannot be read as an image": [*examples(range(6)), ("007.png", b"no"), ("007.cls", b"1")],
        "float32 of (3,), the first array is float32 of (2,)": [
            *(("0.npy", npy(np.ones(2, "f4"))), ("0.cls", b"0")),
            *(("1.npy", npy(np.ones(2, "f4"))), ("1.cls", b"1")),
            *(("2.npy", npy(np.ones(3, "f4"))), ("2.cls", b"1")),
        ],
        "a single example": [("0.npy", npy(np.ones(2, "f4"))), ("0.cls", b"0")],
        ".npy: cannot be read as .npy": arrays(npy(np.ones(2)).replace(b"fortran", b"f\0rtran")),
        ".npy: .npy version (3, 0), expected 1.0": arrays(b"\x93NUMPY\x03\0" + bytes(200)),
        "no examples": [],
    }
    for said, members in shards.items():
        name = f"wds:{shard(tmp_path / 'x.tar', members)}"
        refused(lambda name=name: open_data(name), said, "x.tar")  # type: ignore[misc]
    refused(lambda: open_data(f"wds:{tmp_path}/train-{{0..3}}.tar"), "no such file", "train-0.tar")
    refused(lambda: open_data(f"wds:{shard(tmp_path / 'val-0.tar', examples([0]))}"), "expected shards of train")
    refused(lambda: open_data("wds:"), "wds:NAME-{000..009}.tar")


def test_classes_must_be_those_of_training(tmp_path: Path) -> None:
    shard(tmp_path / "train.tar", examples([0, 1, 3, 4]))
    shard(tmp_path / "test.tar", examples([0, 1, 2]))
    refused(lambda: open_data(f"wds:{tmp_path}"), "test.tar: label 2 at position 2, expected 0 to 1")
    shard(tmp_path / "train.tar", examples([0, 2, 3]))
    [note] = open_data(f"wds:{tmp_path}").notes
    assert "train.tar: 1 of 3 classes have no example: 1" in note


def test_hostile_archives_are_refused(images: Path, tmp_path: Path) -> None:
    whole = (images / "train-0.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: 512 * 3 + 40])  # inside of a member's padding
    (tmp_path / "open.tar").write_bytes(whole[: 512 * 4])  # behind a whole member, without the end of the archive
    (tmp_path / "inside.tar").write_bytes(whole[: 512 + 20])
    (tmp_path / "text.tar").write_text("no archive")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        info = tarfile.TarInfo("0.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(images / "train-0.tar", "0.png")
    shard(tmp_path / "out.tar", [("../0.png", b"")])
    words = {"open": "truncated", "link": "is a link", "out": "leads out", "packed": "plain .tar", "text": "plain .tar"}
    for name in ("cut", "inside", *words):
        refused(lambda name=name: open_data(f"wds:{tmp_path / name}.tar"), f"{name}.tar: ", words.get(name, ""))  # type: ignore[misc]
