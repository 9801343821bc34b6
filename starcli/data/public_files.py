"""Where the files of the public data sets lie: where torchvision puts them. Needs no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
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

CIFAR10_IMAGES: Mapping[str, int] = {f"{name}.bin": 10_000 for name in CIFAR10_SUMS}
"""Numbers of images in the files of the binary version, in the same order."""
CIFAR100_IMAGES: Mapping[str, int] = {"train.bin": 50_000, "test.bin": 10_000}


@dataclass(frozen=True, kw_only=True)
class CifarFiles:
    """The files of CIFAR-10 or CIFAR-100 in both versions: the folder of each, and the names of its files.

    label_key: what labels are called in the Python version. label_bytes: before each image of the binary version, the
    last of which is the label.
    """

    classes: int
    python: str
    sums: Mapping[str, str]
    label_key: str
    binary: str
    images: Mapping[str, int]
    label_bytes: int

    def at(self, root: Path) -> tuple[Path, list[str]]:
        """The folder of the version of which fewest files are missing, and the paths of these.

        It lies in `root`, or is `root` itself.
        """
        found, itself = [], root.resolve()
        for folder, names in ((self.python, self.sums), (self.binary, self.images)):
            directory = itself if itself.name == folder else root / folder
            found.append((directory, [str(directory / name) for name in names if not (directory / name).is_file()]))
        return min(found, key=lambda version: len(version[1]))


CIFAR: Mapping[str, CifarFiles] = {
    "cifar10": CifarFiles(
        classes=10,
        python="cifar-10-batches-py",
        sums=CIFAR10_SUMS,
        label_key="labels",
        binary="cifar-10-batches-bin",
        images=CIFAR10_IMAGES,
        label_bytes=1,
    ),
    "cifar100": CifarFiles(
        classes=100,
        python="cifar-100-python",
        sums=CIFAR100_SUMS,
        label_key="fine_labels",
        binary="cifar-100-binary",
        images=CIFAR100_IMAGES,
        label_bytes=2,  # coarse, fine
    ),
}


def public_directory(name: str, root: Path) -> Path:
    """Directory of the files of a public data set below `root`, or `root` itself where it is called as the data are."""
    if name in CIFAR:
        return CIFAR[name].at(root)[0]
    kind = TORCHVISION_NAMES[name]
    usual = root / kind / "raw"
    # the files of the two data sets have the same names: only a directory that is called so may hold them itself
    called_so = kind.lower() in {re.sub(r"[^a-z]", "", part.lower()) for part in root.resolve().parts[-2:]}
    return root if called_so and missing_idx(usual) and not missing_idx(root) else usual


def missing_public(name: str, root: Path) -> list[str]:
    """Paths of the files of a public data set that are not there."""
    if name in CIFAR:
        return CIFAR[name].at(root)[1]
    directory = public_directory(name, root)
    return [f"{directory / file}[.gz]" for file in missing_idx(directory)]


def need_public(name: str, root: Path | None) -> None:
    """Raise StarcliError that says how to get a public data set which is not in `root` (None: DEFAULT_DIR)."""
    root = root or DEFAULT_DIR
    if missing := missing_public(name, root):
        raise StarcliError(
            f"{name} is not in {root}: say --download to fetch it, or --data-dir for where it is",
            [f"missing: {path}" for path in missing],
        )
