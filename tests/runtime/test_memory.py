"""Freed memory stays with the process where the C library allows it."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from starcli.errors import StarcliError
from starcli.runtime.memory import free_bytes, give_back_freed_memory, keep_freed_memory, need_bytes


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives back what lies between used blocks")
def test_free_memory_between_used_blocks_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    keep_freed_memory()
    blocks = [(torch.ones(2**18), torch.ones(2**8)) for _ in range(100)]
    small = [each for _, each in blocks]
    del blocks
    before = resident()
    give_back_freed_memory()
    assert resident() < before - 50 * 2**20
    assert all(bool(each.all()) for each in small)


def system(root: Path, **files: str) -> Path:
    """Files that say how much memory is free: 4 MiB, and what a container is given."""
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:   4096 kB\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    for name, text in files.items():
        (root / "sys/fs/cgroup" / f"memory.{name}").write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 4096 * 1024),
        ({"max": "max\n", "current": "5000\n", "stat": "inactive_file 7\n"}, 4096 * 1024),
        ({"max": "8000\n", "current": "5000\n", "stat": "anon 4000\ninactive_file 700\n"}, 3700),
    ],
)
def test_free_memory_is_what_the_system_and_the_container_leave(
    tmp_path: Path, files: dict[str, str], free: int
) -> None:
    assert free_bytes(system(tmp_path, **files)) == free


def test_a_system_that_does_not_say_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(tmp_path) is None
    monkeypatch.setattr("starcli.runtime.memory.free_bytes", lambda: None)
    need_bytes(2**60, "all numbers", [])


def test_what_does_not_fit_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starcli.runtime.memory.free_bytes", lambda: 2**30)
    need_bytes(2**30, "these", [])
    with pytest.raises(StarcliError, match=r"these need about 3\.5 GiB of memory, and 1\.0 GiB are free"):
        need_bytes(7 * 2**29, "these", ["fewer"])
