"""Freed memory stays with the process where the C library allows it."""

import platform
import resource

import torch

from starcli.runtime.memory import keep_freed_memory


def faults() -> int:
    """Page faults of 20 activations of 8 MB, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(2 * 2**20).zero_()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_is_used_again_without_page_faults() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    faults()
    if platform.libc_ver()[0] == "glibc":
        assert faults() < 2 * 2**20 * 4 // resource.getpagesize()  # fewer than one activation's pages
