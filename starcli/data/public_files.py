"""Where the files of the public data sets lie: where torchvision puts them. Needs no torch."""

import re
from collections.abc import Mapping
from pathlib import Path

from starcli.data.idx_files import missing_idx
from starcli.errors import StarcliError

TORCHVISION_NAMES: Mapping[str, str] = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
"""What torchvision calls the public data sets."""

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

_CIFAR = {"cifar10": ("cifar-10-batches-py", CIFAR10_SUMS), "cifar100": ("cifar-100-python", CIFAR100_SUMS)}


def public_directory(name: str, root: Path) -> Path:
    """Directory of the files of a public data set below `root`, or `root` itself where it is called as the data are."""
    if name in _CIFAR:
        return root / _CIFAR[name][0]
    kind = TORCHVISION_NAMES[name]
    usual = root / kind / "raw"
    # the files of the two data sets have the same names: only a directory that is called so may hold them itself
    called_so = kind.lower() in {re.sub(r"[^a-z]", "", part.lower()) for part in root.resolve().parts[-2:]}
    return root if called_so and missing_idx(usual) and not missing_idx(root) else usual


def missing_public(name: str, root: Path) -> list[str]:
    """Paths of the files of a public data set that are not there."""
    directory = public_directory(name, root)
    if name in _CIFAR:
        return [str(directory / file) for file in _CIFAR[name][1] if not (directory / file).is_file()]
    return [f"{directory / file}[.gz]" for file in missing_idx(directory)]


def need_public(name: str, root: Path | None) -> None:
    """Raise StarcliError that says how to get a public data set which is not in `root` (None: DEFAULT_DIR)."""
    root = root or DEFAULT_DIR
    if missing := missing_public(name, root):
        raise StarcliError(
            f"{name} is not in {root}: say --download to fetch it, or --data-dir for where it is",
            [f"missing: {path}" for path in missing],
        )
