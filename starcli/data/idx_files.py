"""Names of the files of a data set in MNIST's format. Needs no torch."""

from pathlib import Path

from starcli.errors import StarcliError

IDX_FILES = tuple(
    f"{part}-{what}-idx{n}-ubyte" for part in ("train", "t10k") for what, n in (("images", 3), ("labels", 1))
)
"""Names of the four files, training images and labels first."""


def find_idx(directory: Path, name: str) -> Path | None:
    """Path of a file, with .idx for -idx as some mirrors have it, plain or gzipped; None if there is none."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = directory / (spelling + suffix)
            if path.is_file():
                return path
    return None


def missing_idx(directory: Path) -> list[str]:
    """Names of the files that `directory` lacks in all their spellings."""
    return [name for name in IDX_FILES if find_idx(directory, name) is None]


def need_idx(directory: Path) -> None:
    """Raise StarcliError that names the files which `directory` lacks."""
    if missing := missing_idx(directory):
        raise StarcliError(f"{directory}: files in MNIST's format are missing", [f"{name}[.gz]" for name in missing])
