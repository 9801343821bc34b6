"""Fresh memory costs more than arithmetic: what is freed is kept, large tensors go piece by piece, collection waits."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's names for what `mallopt` sets: <malloc.h>."""

KEPT_BYTES = 256 * 2**20
LARGEST_FROM_HEAP = 32 * 2**20
"""glibc takes no more than this for its mmap threshold on 64 bits."""

PIECE = 2**18
"""Elements to work on at a time: what is made of them stays in the cache, and in memory that is in use already."""


def row_slices(tensor: "Tensor") -> Iterator[slice]:
    """Ranges of its first axis, each of about PIECE elements."""
    step = max(1, PIECE * len(tensor) // max(1, tensor.numel()))
    return (slice(start, start + step) for start in range(0, len(tensor), step))


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MiB of freed memory; True where the C library can be told so (glibc).

    By default activations of some megabytes are mapped and unmapped, or the heap is cut back, at every layer, and every
    page of the next one is a page fault: 20% of a barrier's time on small ResNets (measured). Results are the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(TRIM_THRESHOLD, KEPT_BYTES) and mallopt(MMAP_THRESHOLD, LARGEST_FROM_HEAP))


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """No garbage collection within, for work that makes very many small objects that stay: walking through them again
    and again takes a fifth of the time of tracing a network, half of that of reading large JSON (measured)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
