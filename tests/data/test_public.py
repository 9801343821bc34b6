"""The public data sets: the real loading code on small files of the same formats; what gets imported."""

import gzip
import hashlib
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data import RNG, raw, refused, write_idx

from starcli.data import public_files
from starcli.data.dataset import open_data


class _Stale:
    """Pickles as NumPy arrays did in the Python 2 days: numpy.core.multiarray, dtype('u1', 0, 1)."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        reconstruct = np.zeros(0).__reduce__()[0]  # of numpy._core.multiarray, or of numpy.core before NumPy 2
        state = (1, self.array.shape, _StaleType(), False, self.array.tobytes())
        return reconstruct, (np.ndarray, (0,), b"b"), state


class _StaleType:
    def __reduce__(self) -> Any:
        return np.dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)


def write_cifar(directory: Path, sums: Any, key: str, classes: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    directory.mkdir(parents=True)
    written = []
    for file in list(sums):
        images = RNG.randint(0, 256, (classes, 3072)).astype(np.uint8)
        labels = RNG.permutation(classes).tolist()
        contents = pickle.dumps({"data": _Stale(images), key: labels}, protocol=2)
        contents = contents.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        (directory / file).write_bytes(contents)
        monkeypatch.setitem(sums, file, hashlib.md5(contents).hexdigest())
        written.append((images.reshape(-1, 3, 32, 32), labels))
    return written


@pytest.mark.parametrize(
    ("name", "folder", "sums", "key", "classes"),
    [
        ("cifar10", "cifar-10-batches-py", public_files.CIFAR10_SUMS, "labels", 10),
        ("cifar100", "cifar-100-python", public_files.CIFAR100_SUMS, "fine_labels", 100),
    ],
)
def test_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, sums: Any, key: str, classes: int
) -> None:
    refused(lambda: open_data(name, data_dir=tmp_path), "--download", "--data-dir", str(tmp_path / folder))
    assert not any(tmp_path.iterdir())
    written = write_cifar(tmp_path / folder, sums, key, classes, monkeypatch)
    data = open_data(name, data_dir=tmp_path)
    assert (data.num_classes, data.input_shape, data.augmentation) == (classes, (3, 32, 32), ("pad-crop", "flip"))
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert np.array_equal(raw(data)[0], np.concatenate([images for images, _ in written[:-1]]))
    assert data.train.labels.tolist() == [label for _, labels in written[:-1] for label in labels]
    assert np.array_equal(raw(data)[1], written[-1][0])
    (tmp_path / folder / list(sums)[-1]).write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    refused(lambda: open_data(name, data_dir=tmp_path), "not the published file", "MD5", "--data FILE.py:NAME")


def write_binary(directory: Path, images: Any, label_bytes: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Files of CIFAR's binary version: 20 images each, before each of them its labels, the coarse one first."""
    directory.mkdir(parents=True)
    written = []
    for file in images:
        pixels = RNG.randint(0, 256, (20, 3, 32, 32)).astype(np.uint8)  # red, then green, then blue
        labels = RNG.permutation(20) % 10
        before = bytes([19]) * (label_bytes - 1)  # a coarse label that no image has as its fine one
        records = [before + bytes([label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True)]
        (directory / file).write_bytes(b"".join(records))
        monkeypatch.setitem(images, file, 20)
        written.append((pixels, labels.tolist()))
    return written


@pytest.mark.parametrize(("name", "label_bytes"), [("cifar10", 1), ("cifar100", 2)])
def test_cifar_in_binary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, label_bytes: int) -> None:
    files: Any = public_files.CIFAR[name]
    place = tmp_path / files.binary
    written = write_binary(place, files.images, label_bytes, monkeypatch)
    data = open_data(name, data_dir=tmp_path)
    assert (data.num_classes, data.input_shape, data.augmentation) == (files.classes, (3, 32, 32), ("pad-crop", "flip"))
    assert np.array_equal(raw(data)[0], np.concatenate([images for images, _ in written[:-1]]))
    assert data.train.labels.tolist() == [label for _, labels in written[:-1] for label in labels]
    assert np.array_equal(raw(data)[1], written[-1][0])
    assert data.test.labels.tolist() == written[-1][1]
    link = tmp_path / "link"
    link.symlink_to(place)
    assert {open_data(name, data_dir=each).fingerprint for each in (place, link)} == {data.fingerprint}
    for each in (place, tmp_path):
        refused(lambda each=each: open_data(str(each)), f"--data {name} --data-dir {each}")
    last = place / list(files.images)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    refused(lambda: open_data(name, data_dir=tmp_path), str(last), f"expected {20 * (3072 + label_bytes):,}")
    last.unlink()
    refused(lambda: open_data(name, data_dir=tmp_path), "--download", str(last))


def test_cifar_has_one_fingerprint_in_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: Any = public_files.CIFAR["cifar10"]
    written = write_cifar(tmp_path / files.python, files.sums, files.label_key, files.classes, monkeypatch)
    (tmp_path / "other" / files.binary).mkdir(parents=True)
    for file, (images, labels) in zip(list(files.images), written, strict=True):
        records = b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))
        (tmp_path / "other" / files.binary / file).write_bytes(records)
        monkeypatch.setitem(files.images, file, len(images))
    found = {open_data("cifar10", data_dir=place).fingerprint for place in (tmp_path, tmp_path / "other")}
    assert len(found) == 1


def test_cifar_sums_are_those_of_torchvision() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100

    for kind, sums in ((CIFAR10, public_files.CIFAR10_SUMS), (CIFAR100, public_files.CIFAR100_SUMS)):
        assert [tuple(entry) for entry in kind.train_list + kind.test_list] == list(sums.items())


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist(tmp_path: Path, name: str, kind: str) -> None:
    refused(lambda: open_data(name, data_dir=tmp_path), "--download", "train-images-idx3-ubyte[.gz]")
    write_idx(tmp_path / kind / "raw", bytes, "")
    data = open_data(name, data_dir=tmp_path)
    assert (data.name, data.num_classes, len(data.train)) == (name, 10, 20)
    # the very directory that holds the files does as well
    assert open_data(name, data_dir=tmp_path / kind / "raw").fingerprint == data.fingerprint


def test_download_that_fails_and_one_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    def fails(root: Path, download: bool) -> None:
        raise RuntimeError("no mirror\nanswers")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fails)
    refused(
        lambda: open_data("mnist", data_dir=tmp_path, download=True), "could not be downloaded", "no mirror answers"
    )

    def works(root: Path, download: bool) -> None:
        write_idx(root / "MNIST/raw", gzip.compress, ".gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", works)
    assert len(open_data("mnist", data_dir=tmp_path, download=True).test) == 10


def test_files_of_one_name_are_taken_only_from_a_directory_that_is_called_so(tmp_path: Path) -> None:
    write_idx(tmp_path / "fashion-mnist", gzip.compress, ".gz")
    assert open_data("fashion-mnist", data_dir=tmp_path / "fashion-mnist").name == "fashion-mnist"
    refused(lambda: open_data("mnist", data_dir=tmp_path / "fashion-mnist"), "mnist is not in")


def test_several_that_ask_for_a_download_do_it_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    inside = []

    def works(root: Path, download: bool) -> None:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.05)
        if not (root / "MNIST").exists():  # torchvision, too, looks for what is there
            write_idx(root / "MNIST/raw", gzip.compress, ".gz")
        inside.pop()

    monkeypatch.setattr(torchvision.datasets, "MNIST", works)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(open_data, "mnist", data_dir=tmp_path, download=True) for _ in range(2)]
    assert [len(each.result().test) for each in asked] == [10, 10]


def test_what_is_missing_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from starcli.cli.options.setup import Setup; from pathlib import Path\n"
        "try: Setup(data='cifar10', data_dir=Path(sys.argv[1]))\n"
        "except Exception as error: sys.exit('torch' in sys.modules or 'say --download' not in str(error))\n"
        "sys.exit('it was not told')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_what_is_imported() -> None:
    code = (
        "import sys, starcli.data.names, starcli.data.augment as a; assert 'torch' not in sys.modules;"
        "list(a.AUGMENTATIONS); import starcli.data.dataset; starcli.data.dataset.open_data('digits');"
        "assert not {'torchvision', 'PIL', 'matplotlib', 'sklearn'} & {*sys.modules}, 'too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
