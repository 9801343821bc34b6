"""Image folders: decoded in memory and streamed by workers alike, and each kind of damage named with its path."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from starcli.data.dataset import open_data
from starcli.data.encoded_images import decode_image
from starcli.data.splits import MemorySplit
from starcli.data.streaming import CHUNK, StreamedSplit, default_workers
from starcli.errors import StarcliError

SIZE = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training and 6 validation PNGs of two classes, each filled with noise; some odd files that are no images."""
    root = tmp_path_factory.mktemp("photos")
    noise = np.random.RandomState(0)
    for part, count in (("train", 20), ("val", 3)):
        for name in ("cat", "dog"):
            directory = root / part / name
            directory.mkdir(parents=True)
            for n in range(count):
                pixels = noise.randint(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(directory / f"{n:02}.PNG")
            (directory / "notes.txt").write_text("no image")
    return root


def pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(StarcliError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def streamed(root: Path, monkeypatch: pytest.MonkeyPatch, image_size: int | None = None) -> StreamedSplit:
    monkeypatch.setattr(StreamedSplit, "RESIDENT_BYTES", 0)
    train = open_data(f"folder:{root}", image_size=image_size).train
    assert isinstance(train, StreamedSplit)
    return train


@pytest.mark.parametrize("name", ["valid", "Validation", "dev"])
def test_folders_of_validation_have_several_names(photos: Path, tmp_path: Path, name: str) -> None:
    for here, there in (("train", "train"), (name, "val"), ("test", "val")):
        (tmp_path / here).symlink_to(photos / there)
    data = open_data(f"folder:{tmp_path}")
    assert data.validation is not None
    assert (len(data.validation), len(data.test)) == (6, 6)


def test_folder_in_memory(photos: Path) -> None:
    data = open_data(f"folder:{photos}")
    assert (data.name, data.num_classes, data.input_shape) == ("folder", 2, (3, SIZE, SIZE))
    assert data.augmentation == ("pad-crop", "flip")
    assert data.train.labels.tolist() == [0] * 20 + [1] * 20
    assert isinstance(data.train, MemorySplit)
    assert isinstance(data.test, MemorySplit)
    assert torch.equal(data.train.raw[21], pixels(photos / "train/dog/01.PNG"))
    assert torch.equal(data.test.raw[2], pixels(photos / "val/cat/02.PNG"))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_equals_resident(photos: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    resident = open_data(f"folder:{photos}", image_size=70).train
    stream = streamed(photos, monkeypatch, 70)
    monkeypatch.setattr("starcli.data.streaming.default_workers", lambda: workers)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))[: CHUNK + 5]
    state = torch.get_rng_state()
    for batch_size, wanted in ((7, order), (64, None)):
        draws = [torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)]
        batches = [
            list(
                part.batches(
                    batch_size, order=wanted, augmentation=("crop", "flip"), generator=draw, channels_last=True
                )
            )
            for part, draw in zip((stream, resident), draws, strict=True)
        ]
        assert len(batches[0]) == len(batches[1])
        for (x, y), (u, v) in zip(*batches, strict=True):
            assert x.shape[1:] == (3, 70, 70)
            assert torch.equal(x, u)
            assert torch.equal(y, v)
    assert torch.equal(state, torch.get_rng_state())


def test_a_stream_left_early_and_an_empty_order(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = streamed(photos, monkeypatch)
    batches = stream.batches(4)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert list(stream.batches(4, order=torch.empty(0, dtype=torch.int64))) == []


def test_sizes(photos: Path) -> None:
    large = open_data(f"folder:{photos}", image_size=112)
    assert (large.input_shape, large.augmentation) == ((3, 112, 112), ("crop", "flip"))
    assert isinstance(large.train, MemorySplit)
    assert large.train.raw.shape[1:] == (3, 128, 128)
    (x, _), *_ = large.train.batches(2)
    assert x.shape == (2, 3, 112, 112)
    for size in (0, 5000):
        words = f"--image-size {size}: expected 1 to 4096"
        refused(lambda size=size: open_data(f"folder:{photos}", image_size=size), words)


def test_limit_and_validation_keep_the_fingerprint(photos: Path) -> None:
    whole, part = open_data(f"folder:{photos}"), open_data(f"folder:{photos}", limit=10, val_fraction=0.2)
    assert part.validation is not None
    assert (len(part.train), len(part.validation), len(part.test)) == (8, 2, 6)
    assert part.fingerprint == whole.fingerprint


def test_fingerprint_sees_names_sizes_and_labels(tmp_path: Path) -> None:
    def make(root: Path, second: str, size: int) -> str:
        for part in ("train", "test"):
            for name in ("a", second):
                (root / part / name).mkdir(parents=True)
                Image.new("RGB", (size, 8)).save(root / part / name / "x.bmp")
        return open_data(f"folder:{root}").fingerprint

    prints = [make(tmp_path / str(n), *how) for n, how in enumerate([("b", 8), ("b", 8), ("c", 8), ("b", 9)])]
    assert prints[0] == prints[1]
    assert len({*prints}) == 3


def copy(photos: Path, target: Path) -> Path:
    for path in sorted(photos.glob("*/*/0[01].PNG")):
        copied = target / path.relative_to(photos)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    return target


def test_layout_faults(photos: Path, tmp_path: Path) -> None:
    refused(lambda: open_data(f"folder:{tmp_path / 'none'}"), "no such directory")
    refused(lambda: open_data(f"folder:{tmp_path}"), "expected a folder of images for every class", "found nothing")
    root = copy(photos, tmp_path / "d")
    (root / "train/eel").mkdir()
    refused(lambda: open_data(f"folder:{root}"), "have no images", "eel/")
    (root / "train/eel").rmdir()
    (root / "val/eel").mkdir()
    refused(lambda: open_data(f"folder:{root}"), "val: 1 class folders have no images", "eel/")
    (root / "val/cat/00.PNG").rename(root / "val/eel/00.PNG")
    refused(lambda: open_data(f"folder:{root}"), "different classes", "val/eel/: not in train/")
    (root / "val/eel/00.PNG").unlink()
    (root / "val/eel").rmdir()
    for path in (root / "val/dog").glob("*"):
        path.unlink()
    (root / "val/dog").rmdir()
    refused(lambda: open_data(f"folder:{root}"), "different classes", "val/dog/: missing")
    (root / "val/cat/01.PNG").unlink()
    refused(lambda: open_data(f"folder:{root}"), "val: 1 class folders have no images", "cat/")


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    "contents", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", png_header(8, 8)]
)
@pytest.mark.parametrize("name", ["train/cat/00.PNG", "train/dog/01.PNG"])
def test_images_that_are_none_are_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: bytes, name: str
) -> None:
    root = copy(photos, tmp_path)
    (root / name).write_bytes(contents)
    refused(lambda: open_data(f"folder:{root}", image_size=8), str(root / name), "cannot be read as an image")
    stream = streamed(root, monkeypatch, 8)
    refused(lambda: list(stream.batches(4)), str(root / name), "cannot be read as an image")


def test_the_first_image_may_be_the_bad_one(photos: Path, tmp_path: Path) -> None:
    root = copy(photos, tmp_path)
    (root / "train/cat/00.PNG").write_bytes(b"no image")
    refused(lambda: open_data(f"folder:{root}"), str(root / "train/cat/00.PNG"))


def test_truncated_and_huge_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)).save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        path.write_bytes(whole[:length])
        refused(lambda: decode_image(path, 8), str(path))
    for size in ((9000, 9000), (60000, 60000)):
        path.write_bytes(png_header(*size))
        refused(lambda: decode_image(path, 8), str(path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (20, 10), 1 if mode in ("P", "1") else "white" if mode != "CMYK" else (0, 0, 0, 0))
    path = tmp_path / f"x.{'tif' if mode == 'CMYK' else 'png'}"
    image.save(path)
    assert decode_image(path, 8).shape == (3, 8, 8)
    if mode != "P":
        assert decode_image(path, 8).min() == 255


def test_all_broken_images_are_counted_and_the_first_named(photos: Path, tmp_path: Path) -> None:
    for name in [f"train/cat/{number:02}" for number in range(40)] + ["test/cat/0", "test/dog/0"]:
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((photos / "train/cat/00.PNG").read_bytes())
    for number in range(0, 39, 3):
        (tmp_path / f"train/cat/{number:02}.png").write_bytes(b"no image")
    (tmp_path / "train/dog").mkdir()
    (tmp_path / "train/dog/0.png").write_bytes((photos / "train/dog/00.PNG").read_bytes())
    with pytest.raises(StarcliError) as caught:
        open_data(f"folder:{tmp_path}")
    assert caught.value.summary == f"{tmp_path / 'train'}: 13 images cannot be read"
    assert str(tmp_path / "train/cat/27.png") in caught.value.problems[9]
    assert caught.value.problems[10:] == ("and 3 more",)


def test_a_note_on_shapes(photos: Path, tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (20, 12)).save(tmp_path / name / "0.png")
    [squares] = open_data(f"folder:{tmp_path}").notes
    said = f"{tmp_path / 'train'}: images of 20 x 12 are resized to squares of 12 x 12"
    assert squares == f"{said}; --image-size chooses their side"


def test_workers_are_shared_out_among_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert default_workers() == 1
