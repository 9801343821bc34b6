"""Folders of images: the same files, classes, order and pixels as torchvision's ImageFolder, and what each split is."""

import csv
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.data import refused
from support.program import run_here
from torchvision.datasets import ImageFolder
from torchvision.transforms import Resize
from torchvision.transforms.functional import pil_to_tensor

from starcli.data.dataset import open_data
from starcli.data.encoded_images import decode_image
from starcli.data.image_files import list_images
from starcli.data.names import check_data_name
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError

NAMES = st.sampled_from(
    ["cat", "Dog", "dog", ".hidden", "a b", "a-b", "a", "10", "9", "ä", "b.png", "Ångström", "_", "__MACOSX", "train x"]
)
FILES = st.sampled_from(
    ["1.png", "10.png", "2.PNG", "x.JPEG", "x.jpg", "y.Tiff", ".h.png", ".png", "png", "a.txt", "a.gif", "z.webp",
     "b c.pgm", "a.png.txt", "é.bmp", "b.PPM", "c.tif", "Thumbs.db", ".DS_Store"]
)  # fmt: skip
TREES = st.recursive(
    st.dictionaries(FILES, st.just(None), max_size=4),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3).flatmap(
        lambda folders: st.dictionaries(FILES, st.just(None), max_size=3).map(lambda files: folders | files)
    ),
    max_leaves=6,
)


def grow(tree: dict, place: Path) -> None:
    place.mkdir(exist_ok=True)
    for name, inner in tree.items():
        if inner is None:
            (place / name).write_bytes(b"x")
        else:
            grow(inner, place / name)


@settings(max_examples=150, deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, max_size=4), links=st.lists(st.tuples(NAMES, NAMES), max_size=2))
def test_the_same_files_as_torchvision(tmp_path_factory: pytest.TempPathFactory, tree: dict, links: list) -> None:
    root = tmp_path_factory.mktemp("tree")
    grow(tree, root)
    for name, target in links:
        # a class that is a link to another one, and a file that is a link
        if (root / target).is_dir() and not (root / name).exists():
            (root / name).symlink_to(target)
            (root / target / "link.png").unlink(missing_ok=True)
            (root / target / "link.png").symlink_to(__file__)
    try:
        expected = ImageFolder(str(root))
    except FileNotFoundError:
        refused(lambda: list_images(root), str(root))
        return
    found = list_images(root)
    assert list(found.classes) == expected.classes
    assert [(str(root / name), label) for name, _, label in found.images] == expected.samples
    every = {os.path.relpath(path, root) for path, _ in expected.samples}
    assert not every & set(found.unread)


def spoiled(image: Image.Image) -> Image.Image:
    """The image with metadata that say it lies on its side: torchvision does not turn it."""
    image.getexif()[0x0112] = 6
    return image


NOISE = np.random.RandomState(2)
RGB = NOISE.randint(0, 256, (16, 16, 3)).astype(np.uint8)
DEEP = NOISE.randint(0, 2000, (16, 16)).astype(np.uint16)
PICTURES = {
    "rgb.png": Image.fromarray(RGB),
    "grey.png": Image.fromarray(RGB[..., 0]),
    "grey-alpha.png": Image.fromarray(RGB).convert("LA"),
    "alpha.png": Image.fromarray(NOISE.randint(0, 256, (16, 16, 4)).astype(np.uint8)),
    "palette.png": Image.fromarray(RGB).quantize(7),
    "bits.png": Image.fromarray(RGB).convert("1"),
    "deep.png": Image.fromarray(DEEP),
    "deep.tiff": Image.fromarray(DEEP),
    "floats.tif": Image.fromarray(DEEP.astype(np.float32) / 7),
    "integers.tif": Image.fromarray(DEEP.astype(np.int32)),
    "cmyk.jpg": Image.fromarray(RGB).convert("CMYK"),
    "grey.jpeg": Image.fromarray(RGB[..., 0]),
    "turned.jpg": spoiled(Image.fromarray(RGB)),
    "ycc.tif": Image.fromarray(RGB).convert("YCbCr"),
    "lab.tif": Image.fromarray(RGB).convert("LAB"),
    "x.ppm": Image.fromarray(RGB),
    "x.pgm": Image.fromarray(RGB[..., 1]),
    "x.bmp": Image.fromarray(RGB),
    "x.webp": Image.fromarray(RGB),
    "through.webp": Image.fromarray(NOISE.randint(0, 256, (16, 16, 4)).astype(np.uint8)),
}


def write_pictures(root: Path) -> Path:
    for split in ("train", "test"):
        for number, (name, picture) in enumerate(PICTURES.items()):
            place = root / split / ("ab"[number % 2]) / "deeper"
            place.mkdir(parents=True, exist_ok=True)
            exif = {"exif": picture.getexif()} if name == "turned.jpg" else {}
            picture.save(place / name, **exif)
        Image.fromarray(RGB).save(root / split / "a" / "truly-a-gif.png", format="GIF")
    return root


def test_the_same_pixels_as_torchvision(tmp_path: Path) -> None:
    root = write_pictures(tmp_path)
    assert ImageOps.exif_transpose(Image.open(root / "train/a/deeper/turned.jpg")).tobytes() != PICTURES["turned.jpg"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ImageFolder(str(root / "train"), transform=pil_to_tensor)
        images, labels = zip(*expected, strict=True)
    data = open_data(f"folder:{root}", image_size=16)
    assert torch.equal(data.train.raw, torch.stack(images))
    assert data.train.labels.tolist() == list(labels)
    assert data.train.names == tuple(os.path.relpath(path, root / "train") for path, _ in expected.samples)
    assert data.class_names == ("a", "b")
    some = open_data(f"folder:{root}", image_size=16, limit=5)
    assert set(some.train.names) < set(data.train.names)
    own = open_data(f"folder:{root}", image_size=16, normalise="data")
    scaled = torch.stack(images).double() / 255
    torch.testing.assert_close(torch.tensor(own.mean).double(), scaled.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.tensor(own.std).double(), scaled.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.sampled_from(["png", "jpg"]), st.integers(0, 9))
def test_squares_are_those_of_resize(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, size: int, suffix: str, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"square.{suffix}"
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    expected = pil_to_tensor(Resize((size, size))(Image.open(path).convert("RGB")))
    assert np.array_equal(decode_image(path, size), expected.numpy())


def make(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
    return root


def six(*splits: str) -> list[str]:
    return [f"{split}/{name}/{number}.png" for split in splits for name in ("cat", "dog") for number in range(3)]


@pytest.mark.parametrize("val", ["val", "Validation"])
def test_val_is_validation_and_test_is_test(tmp_path: Path, val: str) -> None:
    root = make(tmp_path, *six("train", val, "test"))
    data = open_data(f"folder:{root}")
    values = [sorted({*split.raw.flatten().tolist()}) for split in (data.train, data.validation, data.test)]
    assert values == [list(range(6)), list(range(6, 12)), list(range(12, 18))]
    assert data.notes == ()
    (root / "test/cat/0.png").write_bytes((root / "test/cat/0.png").read_bytes() + b"!")
    changed = open_data(f"folder:{root}").fingerprint
    (root / f"{val}/cat/0.png").write_bytes((root / f"{val}/cat/0.png").read_bytes() + b"!")
    assert len({data.fingerprint, changed, open_data(f"folder:{root}").fingerprint}) == 3
    drawn = open_data(f"folder:{root}", val_fraction=0.34)
    assert (len(drawn.train), len(drawn.validation)) == (4, 2)
    assert "its own validation part unused" in drawn.notes[0]


def test_val_alone_is_both(tmp_path: Path) -> None:
    data = open_data(f"folder:{make(tmp_path, *six('train', 'val'))}")
    assert data.validation is data.test
    assert (other := data.normalised_by("none")).validation is other.test
    [note] = data.notes
    assert note.endswith("val/ is the validation split, and measured as test split too")


@pytest.mark.parametrize("inside", ["", "train"])
def test_without_a_test_part_a_fifth_is_held_out(tmp_path: Path, inside: str) -> None:
    make(tmp_path / inside, *[f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)])
    data = open_data(str(tmp_path))
    assert (len(data.train), len(data.test), data.validation) == (16, 4, None)
    assert sorted(data.test.labels.tolist()) == [0, 0, 1, 1]
    assert not {*data.train.names} & {*data.test.names}
    assert "a fixed fifth of each class is held out" in data.notes[0]


def test_a_test_part_alone_is_measured_whole(tmp_path: Path) -> None:
    root = make(tmp_path, *six("test"), "test/notes.txt.png")
    known = TextOptions(classes=("bird", "cat", "dog"))
    data = open_data(f"folder:{root}", texts=known)
    assert sorted(data.test.labels.tolist()) == [1, 1, 1, 2, 2, 2]
    assert data.train is data.test
    held_back = open_data(f"folder:{root}", texts=known, val_fraction=0.5)
    assert held_back.train is held_back.test
    assert held_back.validation is None  # it would be test data
    assert data.notes[0] == f"{root}: left unread: test/notes.txt.png"
    assert any("no train/ in it: test/ stands for the training split too" in note for note in data.notes)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    root = make(tmp_path, *six("train", "test"), "extra/x.png", "__MACOSX/train/x.png")
    for name in ("README", "train/labels.csv", "train/cat/notes.txt", "test/dog/.DS_Store", ".git"):
        (root / name).write_text("")
    [note] = open_data(f"folder:{root}").notes
    assert note == f"{root}: left unread: README, __MACOSX/, extra/, train/labels.csv, train/cat/notes.txt"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([*six("train", "Train"), "test/cat/1.png"], ["both Train/ and train/ are there"]),
        (six("test"), ["expected train/ beside test/"]),
        (six("val", "test"), ["expected train/ beside test/, val/"]),
        ([*six("train", "test"), "test/eel/1.png"], ["different classes", "test/eel/: not in train/"]),
        ([*six("train", "val", "test"), "train/eel/1.png"], ["different classes", "val/eel/: missing", "test/eel/: m"]),
        (["train/cat/1.png", "train/cat/2.png"], ["train: only one class, cat/, expected a folder"]),
        (["1.png", "2.png", "more/3.png"], ["only one class, more/", "beside it are images of no class (2)"]),
        (["train/1.png", "test/cat/1.png"], ["train: expected a folder of images for every class, found 1.png"]),
    ],
    ids=map(str, range(8)),
)
def test_folders_that_are_refused(tmp_path: Path, names: list[str], words: list[str]) -> None:
    if "Train/cat/0.png" in names and (make(tmp_path, names[0]) / "TRAIN").exists():
        pytest.skip("small letters and capitals are the same here")
    refused(lambda: open_data(f"folder:{make(tmp_path, *names)}"), *words)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_of_images_may_be_any_bytes_and_those_of_classes_not(tmp_path: Path) -> None:
    root = make(tmp_path, *six("train", "test"), "train/cat/\udce9.png")
    assert open_data(f"folder:{root}").train.names[-4:] == ("cat/\udce9.png", *(f"dog/{n}.png" for n in range(3)))
    make(root, "train/caf\udce9/1.png")
    refused(lambda: open_data(f"folder:{root}"), "/: names of classes are text in UTF-8: rename it")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    root = make(tmp_path, *six("train", "test"))
    (root / "train/cat/gone.png").symlink_to("nowhere")
    refused(lambda: open_data(f"folder:{root}"), "train/cat/gone.png: ")
    (root / "train/cat/gone.png").unlink()
    os.mkfifo(root / "train/cat/pipe.png")
    refused(lambda: open_data(f"folder:{root}"), "train/cat/pipe.png: is no ordinary file")
    (root / "train/cat/pipe.png").unlink()
    # torchvision goes round in circles until a path is too long: with two of them, for ever
    for name, target in (("cat/to-dog", "dog"), ("dog/to-cat", "cat"), ("dog/round", "dog")):
        (root / "train" / name).symlink_to(root / "train" / target)
    refused(lambda: open_data(f"folder:{root}"), "is a link to a folder that it is in")


def test_sixteen_bits_are_as_torchvision_has_them_and_a_note_says_so(tmp_path: Path) -> None:
    root = make(tmp_path, *six("train", "test"))
    plain = open_data(f"folder:{root}")
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(root / "train/cat/0.png")
    data = open_data(f"folder:{root}")
    assert data.train.raw[0].unique().tolist() == [255]
    assert "images of more than 8 bits: values above 255 become 255" in data.notes[0]
    assert data.fingerprint != plain.fingerprint


def test_a_validation_folder_is_measured_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path, *["imgs/" + name for name in six("train", "val", "test")]))
    line = (
        "train",
        "--arch",
        "mlp",
        "--arch-arg",
        "hidden_dim=4",
        "--data",
        "imgs",
        "--epochs",
        1,
        "-o",
        "m.safetensors",
    )
    ran = run_here(*line)
    assert ran.status == 0, ran.err
    assert "standardised by ImageNet's mean" in ran.err
    assert ran.rows[0]["validation"] is not None
    for split in ("validation", "test"):
        [row] = run_here("eval", "m.safetensors", "--data", "folder:imgs", "--split", split).rows
        assert row["nll"] == pytest.approx(ran.rows[0][split]["loss"], rel=1e-6)


def test_images_of_some_classes_are_labelled_as_the_model_has_them(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A folder of one of three classes: its label is that of its name among the three."""
    noise = np.random.RandomState(0)
    for name in [*(f"{part}/{kind}" for part in ("train", "test") for kind in "abc"), "new/c"]:
        (tmp_path / name).mkdir(parents=True)
        for n in range(6):
            pixels = noise.randint(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{n}.png")
    monkeypatch.chdir(tmp_path)
    ran = run_here(
        "train", "--arch", "mlp", "--arch-arg", "hidden_dim=4", "--data", ".", "--epochs", 1, "-o", "m.safetensors"
    )
    assert ran.status == 0, ran.err
    [row] = run_here("eval", "m.safetensors", "--data", "new", "--split", "train").rows
    ran = run_here("predict", "m.safetensors", "--data", "new", "--split", "train", "-o", "-")
    found = list(csv.DictReader(ran.out.splitlines()))
    assert {(each["label"], each["label_name"]) for each in found} == {("2", "c")}
    assert row["nll"] == pytest.approx(-np.mean([math.log(float(each["probability_c"])) for each in found]), rel=1e-5)
    assert "no images of a, b, of the model's 3 classes" in ran.err
    (tmp_path / "new" / "c").rename(tmp_path / "new" / "d")
    refused = run_here("eval", "m.safetensors", "--data", "new")
    assert (refused.status, "only one class, d/" in refused.err) == (1, True)


def test_what_was_kept_is_of_the_images_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are written anew in as many bytes are the same data to a model, but old results are not theirs."""
    monkeypatch.chdir(make(tmp_path, *["imgs/" + name for name in six("train", "test")]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--data", "imgs", "--epochs", 1)
    for path in (tmp_path / "imgs").rglob("*.png"):
        Image.fromarray(np.full((8, 8, 3), 3, np.uint8)).save(path, format="BMP")
    for seed in (0, 1):
        assert run_here("train", *words, "--seed", seed, "-o", f"{seed}.safetensors").status == 0
    line = ("barrier", "0.safetensors", "1.safetensors", "--data", "imgs", "--align", "none", "--points", 3)
    before = run_here(*line).rows[0]["test"]["loss"]
    assert run_here(*line).rows[0]["test"]["loss"] == before
    for path in (tmp_path / "imgs/test").rglob("*.png"):
        date = path.stat().st_mtime_ns
        Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(path, format="BMP")
        os.utime(path, ns=(date, date))  # as a copy does that keeps the date
    after = run_here(*line).rows[0]["test"]["loss"]
    assert after != before
    assert run_here("barrier", "--no-cache", *line[1:]).rows[0]["test"]["loss"] == after


def test_names_without_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path, *["imgs/" + name for name in six("train", "test")]))
    assert open_data("imgs").fingerprint == open_data("folder:imgs").fingerprint
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_data("folder:~/imgs").fingerprint == open_data("~/imgs").fingerprint == open_data("imgs").fingerprint
    (tmp_path / "empty").mkdir()
    (tmp_path / "half/val").mkdir(parents=True)
    (tmp_path / "x.xlsx").write_text("")
    (tmp_path / "half/x.png").write_text("")
    for name, words in {
        "empty": "a folder without images or files in MNIST's format",
        "half/x.png": "images are read by their folder: --data folder:half",
        "x.xlsx": "unknown suffix '.xlsx', expected .npz, .safetensors, .csv, .tsv, .jsonl or .parquet",
        "no/such": "no such file or directory",
        "nothing.csv": "no such file",
        "nothing.txt": "no such file or directory",
        "digit": "did you mean digits?",
        "none.npz": "--data none.npz: no such file",
        "folder:none": "--data folder:none: no such directory",
        "folder:x.xlsx": "is a file, expected a folder",
        "folder:half": "expected train/ beside val/",
        "arrays:imgs": "unknown suffix",
        "idx:imgs": "files in MNIST's format are missing",
    }.items():
        with pytest.raises(StarcliError) as caught:
            open_data(name)
        assert words in str(caught.value)
        with pytest.raises(StarcliError, match=re.escape(caught.value.summary)):
            check_data_name(name)
    heavy = "import sys; from starcli.data.names import check_data_name as check; check('imgs'); check('digits')"
    light = f"{heavy}; sys.exit(bool({{'torch', 'numpy'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0
