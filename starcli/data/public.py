"""Public data sets (MNIST, Fashion-MNIST, CIFAR), read from where torchvision puts them.

torchvision itself is imported only to download: reading here saves the import (3 s), and nothing unknown is unpickled:
CIFAR's files are pickles, and are only opened once their MD5 sum is that of the published file.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.idx import read_parts
from starcli.data.idx_files import missing_idx
from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.normalise import IMAGENET_MEAN, IMAGENET_STD
from starcli.data.splits import BYTES, Normalisation
from starcli.errors import StarcliError
from starcli.files.lock import lock
from starcli.files.write import make_directory

DEFAULT_DIR = Path("data")
"""Directory of the public data sets where `--data-dir` is not given."""

CIFAR10_SUMS: Mapping[str, str] = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""MD5 sums of the published files, in the order in which they make up the training and the test part."""
CIFAR100_SUMS: Mapping[str, str] = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
"""MD5 sums of the published files: training, test."""


def load_mnist(request: Request) -> Loaded:
    """Load MNIST: 60,000 and 10,000 grey images of 28 x 28, normalised by the training part's mean and deviation.

    The four files lie where torchvision puts them, in MNIST/raw, or in the directory itself.
    """
    return _load_idx("mnist", "MNIST", request)


def load_fashion_mnist(request: Request) -> Loaded:
    """Load Fashion-MNIST, as `load_mnist` does MNIST."""
    return _load_idx("fashion-mnist", "FashionMNIST", request)


def load_cifar10(request: Request) -> Loaded:
    """Load CIFAR-10: 50,000 and 10,000 colour images of 32 x 32, normalised by ImageNet's statistics (paper, B.1)."""
    return _load_cifar("cifar10", "CIFAR10", "cifar-10-batches-py", CIFAR10_SUMS, "labels", 10, request)


def load_cifar100(request: Request) -> Loaded:
    """Load CIFAR-100 with its fine labels, as `load_cifar10` does CIFAR-10."""
    return _load_cifar("cifar100", "CIFAR100", "cifar-100-python", CIFAR100_SUMS, "fine_labels", 100, request)


def _load_idx(name: str, kind: str, request: Request) -> Loaded:
    """Load the idx files of torchvision's data set `kind`, which are downloaded first if asked for."""
    root = request.data_dir or DEFAULT_DIR
    usual = root / kind / "raw"
    # the files of the two data sets have the same names: only a directory that is called so may hold them itself
    called_so = kind.lower() in {re.sub(r"[^a-z]", "", part.lower()) for part in root.resolve().parts[-2:]}
    directory = root if called_so and missing_idx(usual) and not missing_idx(root) else usual
    missing = missing_idx(directory)
    if missing:
        _fetch(name, kind, root, request.download, [f"{directory / file}[.gz]" for file in missing])
    return assemble(name, *read_parts(directory), num_classes=10)


def _load_cifar(
    name: str, kind: str, folder: str, sums: Mapping[str, str], labels_key: str, num_classes: int, request: Request
) -> Loaded:
    """Load CIFAR's Python-version files, which are downloaded first if asked for."""
    root = request.data_dir or DEFAULT_DIR
    missing = [str(root / folder / file) for file in sums if not (root / folder / file).is_file()]
    if missing:
        _fetch(name, kind, root, request.download, missing)
    batches = [_read_batch(root / folder / file, md5, labels_key) for file, md5 in sums.items()]
    images = np.concatenate([batch[0] for batch in batches[:-1]])
    labels = np.concatenate([batch[1] for batch in batches[:-1]])
    return assemble(
        name,
        Part(images, labels, f"{name}, training part"),
        Part(*batches[-1], f"{name}, test part"),
        normalisation=Normalisation(BYTES, IMAGENET_MEAN, IMAGENET_STD),
        num_classes=num_classes,
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
            [f"MD5 sum {found}, expected {md5}"],
        )
    with warnings.catch_warnings():
        # The files date from Python 2 and describe their types in a way that NumPy 2.4 deprecates.
        warnings.simplefilter("ignore")
        batch = pickle.loads(contents, encoding="latin1")  # these very bytes are known, see above
    return batch["data"].reshape(-1, 3, 32, 32), np.array(batch[labels_key], dtype=np.int64)


def _fetch(name: str, kind: str, root: Path, download: bool, missing: list[str]) -> None:
    """Download into `root` if asked to; else raise the StarcliError that says how to."""
    if not download:
        raise StarcliError(
            f"{name} is not in {root}: say --download to fetch it, or --data-dir for where it is",
            [f"missing: {path}" for path in missing],
        )
    import torchvision

    make_directory(root)
    try:
        with lock(root / kind, wait=True):  # several ranks ask for it: one fetches, the others find it there
            getattr(torchvision.datasets, kind)(root, download=True)
    except (OSError, RuntimeError, ValueError) as error:  # no network, no mirror that answers, a wrong sum, a full disk
        raise StarcliError(f"{name} could not be downloaded into {root}", [str(error).replace("\n", " ")]) from error
