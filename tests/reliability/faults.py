"""Disks that fill, directories that vanish or refuse, pipes that close, memory that ends, two runs of one output."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .ground import LONG, RUNS, TRAIN, contents, fresh, until
from .trial import Command, Ended, command

Row = tuple[str, int, list[str]]
"""Case, number of trials, what was wrong."""


def one_line(ended: Ended, status: int, words: str) -> list[str]:
    """An error must have this status, and one summary line before indented ones; `words` stand in it somewhere."""
    lines = [line for line in ended.err.splitlines() if line and not line.startswith("note: ")]
    summary = [line for line in lines if not line.startswith("  ")]
    found = [] if ended.status == status else [f"exit status {ended.status}, expected {status}: {ended.err[-300:]}"]
    if len(summary) != 1 or not summary[0].startswith("starcli: "):
        found.append(f"not one line: {ended.err[-300:]}")
    if words not in ended.err:
        found.append(f"does not say {words!r}: {ended.err[-300:]}")
    return found


def unharmed(directory: Path, before: dict[str, bytes], also: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Every file as it was; new ones only of the names in `also`."""
    after = contents(directory)
    changed = [name for name, content in before.items() if after.get(name) != content]
    litter = sorted(after.keys() - before.keys() - also)
    return ([f"changed {changed}"] if changed else []) + ([f"left {litter}"] if litter else [])


def _overwrite(words: tuple[str, ...]) -> tuple[str, ...]:
    return (*words, "--force")


def full_at(number: int, code: int = errno.ENOSPC) -> None:
    """From the `number`-th write on, this process finds the disk full: half of what it writes fits."""
    left = [number]
    whole, sync = Path.write_bytes, os.fsync

    def failing(path: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] <= 0:
            whole(path, content[: len(content) // 2])
            raise OSError(code, os.strerror(code), str(path))
        return whole(path, content)

    def failing_sync(handle: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(code, os.strerror(code))
        sync(handle)

    Path.write_bytes = failing  # type: ignore[method-assign, assignment]
    os.fsync = failing_sync


def small_files(limit: int) -> Callable[[], None]:
    """No file of this process may grow beyond `limit` bytes."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return prepare


def disks(sources: Path, place: Path, *, every: int = 1) -> Iterator[Row]:
    """Full disks: imitated at each write, by a limit on file sizes, and a real small one where it can be mounted."""
    for name in ("train", "star"):
        directory = fresh(sources, place / "full")
        command(RUNS[name], directory)
        whole = contents(directory)["out.safetensors"]
        defects, trials = [], 0
        for number in range(1, 200, every):
            directory = fresh(sources, place / "full")
            (directory / "out.safetensors").write_bytes(b"old")
            before = contents(directory)
            ended = command(_overwrite(RUNS[name]), directory, lambda number=number: full_at(number))
            if ended.status == 0:
                break
            trials += 1
            found = one_line(ended, 1, "No space left")
            also = {"out.safetensors.state", "out.metrics.jsonl"}
            if contents(directory)["out.safetensors"] == whole:  # the flush of the directory, after the rename, failed
                before["out.safetensors"] = whole
            defects += [f"at write {number}: {d}" for d in found + unharmed(directory, before, also)]
        yield f"disk full at each write of `{name}`: the old file or the whole new one", trials, defects
    defects = []
    for limit in (1_000, 2_000, 20_000):
        directory = fresh(sources, place / "full")
        before = contents(directory)
        ended = command(RUNS["star"], directory, small_files(limit))
        found = one_line(ended, 1, "File too large") + unharmed(
            directory, before, {"out.metrics.jsonl", "out.safetensors.state"}
        )
        defects += [f"limit {limit}: {d}" for d in found]
    yield "file size limited (RLIMIT_FSIZE)", 3, defects
    yield from mounted(sources, place)


def mounted(sources: Path, place: Path) -> Iterator[Row]:
    """A real tmpfs of 64 kB, full; then one that may only be read."""
    directory = place / "mounted"
    directory.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory], capture_output=True).returncode:
        return
    try:
        words = [
            word if "safetensors" not in word or word.startswith("out") else str(sources / word)
            for word in RUNS["star"]
        ]
        before = contents(directory)
        ended = command(words, directory)
        yield (
            "a real full disk (tmpfs of 64 kB)",
            1,
            one_line(ended, 1, "No space left")
            + unharmed(directory, before, {"out.metrics.jsonl", "out.safetensors.state"}),
        )
        for path in directory.iterdir():
            path.unlink()
        subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
        ended = command(words, directory)
        yield "a directory that may only be read", 1, one_line(ended, 1, "") + unharmed(directory, {})
    finally:
        subprocess.run(["umount", directory], check=True)


def vanished(sources: Path, place: Path) -> Iterator[Row]:
    """The directory of the output is removed while the run goes on, or cannot be made."""
    directory = fresh(sources, place / "gone")
    (directory / "out").mkdir()
    words = tuple("out/x.safetensors" if word == "out.safetensors" else word for word in LONG)
    running = Command(words, directory)
    until(lambda: (directory / "out" / "x.metrics.jsonl").exists())
    shutil.rmtree(directory / "out")
    began = time.monotonic()
    ended = running.wait(30)
    found = one_line(ended, 1, "No such file or directory")
    if (directory / "out").exists():
        found.append("made the directory anew")
    if time.monotonic() - began > 20:
        found.append("went on for 20 s")
    yield "the output's directory vanishes", 1, found
    before = contents(directory)
    ended = command([*TRAIN, "-o", "0.safetensors/x.safetensors"], directory)
    found = one_line(ended, 1, "is no directory to write into") + unharmed(directory, before)
    yield "a directory that cannot be made", 1, found


def pipes(sources: Path, place: Path) -> Iterator[Row]:
    """Whoever reads stdout goes away: no error, no noise."""
    directory = fresh(sources, place / "pipes")
    defects = []
    for words in (("inspect", "0.safetensors", "1.safetensors"), ("permute", "0.safetensors", "--random", "-o", "-")):
        ended = command(words, directory, closed_pipe)
        if ended.status not in (0, 141) or ended.err:
            defects.append(f"{words[0]}: {ended.status} {ended.err[-200:]}")
    yield "closed pipe", 2, defects


def closed_pipe() -> None:
    """Stdout is a pipe that nobody reads."""
    import sys

    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)


def memory(sources: Path, place: Path) -> Iterator[Row]:
    """Address space limited to what is taken already and a little more."""
    defects = []
    extras = (8, 64, 256)
    for extra in extras:
        directory = fresh(sources, place / "memory")
        before = contents(directory)

        def limit(extra: int = extra) -> None:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + (extra << 20),) * 2)

        words = ("train", "--arch", "mlp", "--arch-arg", "hidden_dim=8000", "depth=4", "--data", "digits",
                 "--epochs", "1", "--unproved", "--threads", "1", "-o", "out.safetensors")  # fmt: skip
        ended = command(words, directory, limit)
        defects += [f"{extra} MB: {d}" for d in one_line(ended, 1, "memory") + unharmed(directory, before)]
    yield "out of memory (RLIMIT_AS)", len(extras), defects


def two_at_once(sources: Path, place: Path) -> Iterator[Row]:
    """The second run of one output is told who holds it; once the first was killed, the next takes over."""
    directory = fresh(sources, place / "two")
    first = Command(LONG, directory)
    until(lambda: (directory / "out.metrics.jsonl").exists())
    second = command(LONG, directory)
    found = one_line(second, 1, f"process {first.pid}")
    first.kill()
    first.wait()
    third = Command(LONG, directory)
    time.sleep(1.0)
    third.kill(signal.SIGTERM)
    ended = third.wait()
    if ended.status != 143:
        found.append(f"after the holder was killed: {ended.status} {ended.err[-200:]}")
    yield "two processes, one output", 1, found
