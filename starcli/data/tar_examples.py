"""Examples of a tar file as webdataset groups them: neighbours whose names differ only after the first dot are one.

    0001.jpg 0001.cls 0002.jpg 0002.cls        ->        {jpg, cls} of 0001, {jpg, cls} of 0002

Nothing is unpacked: members are read where they lie in the file, and only ordinary ones of a plain tar file.
"""

import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from starcli.errors import StarcliError, first_line


@dataclass(frozen=True)
class TarMember:
    """A file in a shard: `size` bytes from `offset`."""

    shard: Path
    name: str
    offset: int
    size: int

    @property
    def where(self) -> str:
        """Shard and name, as errors say it."""
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        """The bytes of the file. Raises StarcliError where the shard changed or ends before."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                found = file.read(self.size)
        except OSError as error:
            raise StarcliError(f"{self.shard}: {error.strerror}") from error
        if len(found) < self.size:
            raise StarcliError(f"{self.where}: {len(found):,} bytes, expected {self.size:,}")
        return found


@dataclass(frozen=True)
class TarExample:
    """Members with one stem `key`, by what follows its dot, in small letters."""

    shard: Path
    key: str
    members: dict[str, TarMember] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Shard and stem, as errors say it."""
        return f"{self.shard}: {self.key}"


def tar_examples(shard: Path) -> list[TarExample]:
    """The examples of a shard, in order.

    Folders, hidden files and webdataset's own `__...__` are left out. Raises StarcliError for what is no tar file, is
    compressed or truncated; for links, devices, sparse files, and names that lead out of the archive; and for examples
    with a member twice or in two places.
    """
    try:
        length = shard.stat().st_size
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            found: list[TarExample] = []
            seen: set[str] = set()
            end = 0
            for info in archive:
                end = info.offset_data + (0 if info.isdir() else info.size)
                if info.isdir():
                    continue
                _refuse(info, shard, length)
                _add(found, seen, TarMember(shard, info.name, info.offset_data, info.size))
            _refuse_truncated(shard, length, end)
            return found
    except StarcliError:
        raise
    except Exception as error:  # a damaged archive makes tarfile raise nearly anything
        raise StarcliError(f"{shard}: cannot be read as a plain .tar file: {first_line(error)}") from error


def _refuse(info: tarfile.TarInfo, shard: Path, length: int) -> None:
    """Raise StarcliError for a member that no webdataset has."""
    where = f"{shard}: {info.name}"
    if not info.isreg() or info.issparse():
        raise StarcliError(f"{where}: is a link, a device or a sparse file, expected files and folders; refused")
    if info.name.startswith("/") or ".." in info.name.split("/"):
        raise StarcliError(f"{where}: leads out of the archive; refused")
    if info.size < 0 or info.offset_data + info.size > length:
        raise StarcliError(f"{where}: claims {info.size:,} bytes, and the file ends before: truncated?")


def _refuse_truncated(shard: Path, length: int, end: int) -> None:
    """Raise StarcliError where a shard ends without the zeros that close it, as a copy that stopped."""
    with shard.open("rb") as file:
        file.seek(-(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        if len(block := file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE or block.strip(b"\0"):
            raise StarcliError(f"{shard}: ends after {length:,} bytes without an end of the archive: truncated?")


def _add(found: list[TarExample], seen: set[str], member: TarMember) -> None:
    """Put a member into the last example, or begin a new one."""
    folder, _, base = member.name.rpartition("/")
    stem, dot, kind = base.partition(".")
    if not stem or not dot or (stem.startswith("__") and stem.endswith("__")):
        return
    key = os.path.join(folder, stem)
    if not found or found[-1].key != key:
        if key in seen:
            raise StarcliError(f"{member.where}: members of one example lie apart; webdataset expects them together")
        seen.add(key)
        found.append(TarExample(member.shard, key))
    if kind.lower() in found[-1].members:
        raise StarcliError(f"{member.where}: occurs twice")
    found[-1].members[kind.lower()] = member
