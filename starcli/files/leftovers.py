"""Temporary files beside their targets, and removal of those that killed processes left behind."""

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path


def partial_directory(path: Path) -> Path:
    """Hidden directory beside `path` in which this process writes it: `.NAME.HOST-PID.part`."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.part")


def sweep(path: Path) -> None:
    """Remove the temporary files for `path` of dead processes on this machine.

    Those of other machines are left: from here none can tell whether they live.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{_host()}-(\d+)\.part")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            found = pattern.fullmatch(name)
            if found and not _is_alive(int(found[1])):
                shutil.rmtree(path.parent / name, ignore_errors=True)


def _host() -> str:
    """Hash of this machine's or container's name: many may share the disk, and names are long and of any characters."""
    return hashlib.sha256(os.uname().nodename.encode(errors="surrogateescape")).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    """Whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
