"""Memory: how much is free and was taken; and settings of it that make small networks faster."""

import ctypes
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`, from <malloc.h>."""

KEPT_BYTES = 256 * 2**20
"""Freed memory that the process keeps."""
LARGEST_FROM_HEAP = 32 * 2**20
"""Largest block from the heap: glibc takes no more than this for its mmap threshold on 64 bits."""

PIECE = 2**18
"""Number of elements to work on at a time: intermediate results stay in the cache."""


def row_slices(tensor: "Tensor") -> Iterator[slice]:
    """Slices of the first axis of `tensor`, each of about PIECE elements; on a GPU one slice."""
    step = max(1, (PIECE if tensor.device.type == "cpu" else tensor.numel()) * len(tensor) // max(1, tensor.numel()))
    return (slice(start, start + step) for start in range(0, len(tensor), step))


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MiB of freed memory; return whether the C library (glibc) can do that.

    By default activations of some megabytes are mapped and unmapped, or the heap is cut back, at every layer, and every
    page of the next one is a page fault: 20% of a barrier's time on small ResNets (measured). Results are the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(TRIM_THRESHOLD, KEPT_BYTES) and mallopt(MMAP_THRESHOLD, LARGEST_FROM_HEAP))


def give_back_freed_memory() -> None:
    """Give the system back what is free between blocks that are in use; without glibc nothing.

    Large blocks that come and go leave small ones that stay in their midst, so that the heap grows: by 2 MB for each
    ResNet-18 that is matched (measured). What is used again costs its page faults anew.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def spare_bytes(device: "torch.device") -> int:
    """Memory of a GPU that may be taken to keep what is used often: a quarter of what is free there now; else none."""
    import torch

    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return free // 4


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that this process may still take: what Linux calls available, or what a container's limit leaves of it.

    None where the system does not say. root: of its files.
    """
    try:
        lines = [line.split() for line in (root / "proc/meminfo").read_text().splitlines()]
        free = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    except (OSError, StopIteration):
        return None
    try:
        group = root / "sys/fs/cgroup"
        taken = int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(free, int((group / "memory.max").read_text()) - taken + int(cached["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no container, or one without a limit: "max"
        return free


def peak_bytes() -> int:
    """Most memory that this process has had so far, data that are mapped and were read among it."""
    with suppress(OSError, StopIteration):
        lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
        return next(int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def gpu_peak_bytes() -> int | None:
    """Most memory that torch has held on GPUs so far, all together; None where none was used."""
    import torch

    return sum(torch.cuda.max_memory_reserved(number) for number in range(torch.cuda.device_count())) or None


def need_bytes(count: int, what: str, hints: Sequence[str]) -> None:
    """Raise StarcliError where `what`, of `count` bytes, exceeds `free_bytes`: such a process would be killed."""
    free = free_bytes()
    if free is not None and count > free:
        found, room = (f"{size / 2**30:.1f} GiB" for size in (count, free))
        raise StarcliError(f"{what} need about {found} of memory, and {room} are free", hints)
