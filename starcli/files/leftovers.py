"""Names of files in the making, and the removal of those whose makers were killed."""

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path


def partial_directory(path: Path) -> Path:
    """The hidden directory beside `path` in which this process makes it: `.NAME.HOST-PID.part`."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.part")


def sweep(path: Path) -> None:
    """Remove what killed processes of this machine left of `path`; of what others make of it, here none can tell."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{_host()}-(\d+)\.part")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            found = pattern.fullmatch(name)
            if found and not _is_alive(int(found[1])):
                shutil.rmtree(path.parent / name, ignore_errors=True)


def _host() -> str:
    """This machine or container among those that share the disk: a hash, for names are long and of any characters."""
    return hashlib.sha256(os.uname().nodename.encode(errors="surrogateescape")).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
