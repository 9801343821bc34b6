"""Public data sets (MNIST, Fashion-MNIST, CIFAR), read from where torchvision puts them.

torchvision itself is imported only to download: reading here saves the import (3 s), and nothing unknown is unpickled:
CIFAR's files are pickles, and are only opened once their MD5 sum is that of the published file. Its binary version
(A. Krizhevsky, "The CIFAR-10 dataset") is read too, where it is there.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.idx import read_parts
from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.normalise_option import IMAGENET_MEAN, IMAGENET_STD
from starcli.data.public_files import (
    CIFAR,
    DEFAULT_DIR,
    TORCHVISION_NAMES,
    missing_public,
    need_public,
    public_directory,
)
from starcli.errors import StarcliError
from starcli.files.lock import lock
from starcli.files.write import make_directory
from starcli.runtime.rehearsal import present_rehearsal


def load_mnist(request: Request) -> Loaded:
    """Load MNIST: 60,000 and 10,000 grey images of 28 x 28, normalised by the training part's mean and deviation.

    The four files lie where torchvision puts them, in MNIST/raw, or in the directory itself.
    """
    return _load_idx("mnist", request)


def load_fashion_mnist(request: Request) -> Loaded:
    """Load Fashion-MNIST, as `load_mnist` does MNIST."""
    return _load_idx("fashion-mnist", request)


def load_cifar10(request: Request) -> Loaded:
    """Load CIFAR-10: 50,000 and 10,000 colour images of 32 x 32, normalised by ImageNet's statistics (paper, B.1)."""
    return _load_cifar("cifar10", request)


def load_cifar100(request: Request) -> Loaded:
    """Load CIFAR-100 with its fine labels, as `load_cifar10` does CIFAR-10."""
    return _load_cifar("cifar100", request)


def _load_idx(name: str, request: Request) -> Loaded:
    """Load the idx files of a data set of torchvision's, which are downloaded first if asked for."""
    return assemble(name, *read_parts(_directory(name, request)), num_classes=10)


def _load_cifar(name: str, request: Request) -> Loaded:
    """Load CIFAR's files of the Python or the binary version; the former are downloaded first if asked for."""
    directory, files = _directory(name, request), CIFAR[name]
    if directory.name == files.binary:
        batches = [_read_binary(directory / file, count, files.label_bytes) for file, count in files.images.items()]
    else:
        batches = [_read_batch(directory / file, md5, files.label_key) for file, md5 in files.sums.items()]
    images = np.concatenate([batch[0] for batch in batches[:-1]])
    labels = np.concatenate([batch[1] for batch in batches[:-1]])
    return assemble(
        name,
        Part(images, labels, f"{name}, training part"),
        Part(*batches[-1], f"{name}, test part"),
        normalisation=Normalisation(BYTES, IMAGENET_MEAN, IMAGENET_STD),
        num_classes=files.classes,
        augmentation=("pad-crop", "flip"),
    )


def _read_batch(path: Path, md5: str, labels_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, 3, 32, 32) images and labels of one of CIFAR's Python-version files, whose MD5 sum must be the known one."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise StarcliError(f"{path}: {error.strerror}") from error
    found = hashlib.md5(contents, usedforsecurity=False).hexdigest()
    if found != md5:
        raise StarcliError(
            f"{path}: not the published file, or damaged: remove it and say --download",
            [f"MD5 sum {found}, expected {md5}", "a function reads data of your own in this form: --data FILE.py:NAME"],
        )
    with warnings.catch_warnings():
        # The files date from Python 2 and describe their types in a way that NumPy 2.4 deprecates.
        warnings.simplefilter("ignore")
        batch = pickle.loads(contents, encoding="latin1")  # these very bytes are known, see above
    return batch["data"].reshape(-1, 3, 32, 32), np.array(batch[labels_key], dtype=np.int64)


def _read_binary(path: Path, count: int, label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, 3, 32, 32) images and labels of one of CIFAR's binary-version files, which must be as long as published.

    Each image has `label_bytes` before it, the last of which is its label, and then its red, green and blue numbers.
    """
    size = label_bytes + 3 * 32 * 32
    try:
        found = path.stat().st_size
        if found != count * size:
            raise StarcliError(
                f"{path}: {found:,} bytes, expected {count * size:,}: {count:,} images of {size:,} bytes",
                ["a function reads data of your own in this form: --data FILE.py:NAME"],
            )
        rows = np.fromfile(path, dtype=np.uint8).reshape(count, size)
    except OSError as error:
        raise StarcliError(f"{path}: {error.strerror}") from error
    return rows[:, label_bytes:].reshape(count, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def _directory(name: str, request: Request) -> Path:
    """Directory of the files of a public data set, downloaded if they are missing and that is asked for."""
    root = request.data_dir or DEFAULT_DIR
    if not request.download:
        need_public(name, root)
    elif missing_public(name, root):
        _fetch(name, TORCHVISION_NAMES[name], root)
    return public_directory(name, root)


def _fetch(name: str, kind: str, root: Path) -> None:
    """Download torchvision's data set `kind` into `root`."""
    if present_rehearsal() is not None:
        raise StarcliError(f"{name}: is not in {root}, and --dry-run downloads nothing")
    import torchvision

    make_directory(root)
    try:
        with lock(root / kind, wait=True):  # several ranks ask for it: one fetches, the others find it there
            getattr(torchvision.datasets, kind)(root, download=True)
    except (OSError, RuntimeError, ValueError) as error:  # no network, no mirror that answers, a wrong sum, a full disk
        raise StarcliError(f"{name} could not be downloaded into {root}", [str(error).replace("\n", " ")]) from error
