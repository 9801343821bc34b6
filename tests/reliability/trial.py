"""One trial in a forked child: what it did, how long it took, what memory it added, what it touched.

The parent imports everything once; a fork costs milliseconds where a cold start costs seconds.
"""

import contextlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .costs import MEMORY, SECONDS

HUNG = 30.0
"""Seconds after which a trial is ended from outside, but for those in which others had the processor."""

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen",
             "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "webbrowser.open",
             "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree",
             "os.mkdir")  # fmt: skip
"""Audit events that no reader has any business with."""


@dataclass(frozen=True)
class Outcome:
    """How one trial ended: `read`, `refused` (a StarcliError), or words that tell of a defect."""

    ended: str
    words: str = ""
    seconds: float = 0.0
    memory: int = 0
    touched: tuple[str, ...] = ()
    said: str = ""

    def defects(self, size: int = 0) -> list[str]:
        """What is wrong with it, for an input of `size` bytes; nothing where all is well."""
        found = [] if self.ended in ("read", "refused") else [f"{self.ended}: {self.words}"]
        if self.seconds > SECONDS:
            found.append(f"took {self.seconds:.1f} s")
        if self.memory > MEMORY + size:
            found.append(f"took {self.memory >> 20} MB")
        if self.ended == "refused" and len(self.words) > 100_000:
            found.append(f"an error of {len(self.words)} characters")
        if self.said:
            found.append(f"said {self.said!r}")
        return found + [f"did {event}" for event in self.touched]


def quiet_import() -> None:
    """Import all that readers use, so that what a child does afterwards is its own."""
    import torch

    torch.set_num_threads(1)
    import PIL.Image
    import pydantic  # noqa: F401

    from starcli.checkpoints import lineage  # noqa: F401
    from starcli.recipes import recipe  # noqa: F401

    PIL.Image.init()
    import_packages()


PACKAGES = ("datasets", "pyarrow", "tokenizers", "transformers")
"""Packages of Hugging Face and what they are made of: without them there are no cases of their files."""


def have_packages() -> bool:
    """Whether all of PACKAGES are installed."""
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def import_packages() -> None:
    """Import what readers import of PACKAGES: classes of `transformers` are imported when they are first named."""
    if have_packages():
        modules = {name: importlib.import_module(name) for name in PACKAGES}
        _ = [getattr(modules["transformers"], f"{name}Classification") for name in ("BertForSequence", "ViTForImage")]


def watched(writable: Iterable[Path] = ()) -> list[str]:
    """Arm an audit hook in this process; what it sees of forbidden deeds is added to the list returned."""
    seen: list[str] = []
    roots = [str(Path(root).resolve()) for root in writable]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            named = isinstance(path, str) and path != os.devnull
            if writes and named and not any(os.path.realpath(path).startswith(root) for root in roots):
                seen.append(f"open for writing {path}")
        elif event == "socket.connect" and isinstance(arguments[1], str | bytes):
            pass  # how our own data workers hand over what they decoded: a socket of this machine, not of a network
        elif event in FORBIDDEN and not any(str(arguments[:1]).find(root) >= 0 for root in roots):
            seen.append(event)

    sys.addaudithook(hook)
    return seen


def queued(pid: int | str = "self") -> float:
    """Seconds in which a process was ready and others had the processor: of a busy machine, and no fault of its own.

    0 where the system does not tell.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def trial(run: Callable[[], object], *, writable: Iterable[Path] = (), limit: float = HUNG) -> Outcome:
    """`run` in a forked child, watched."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 0
        try:
            os.write(writing, json.dumps(_watched_run(run, writable)).encode())
        except BaseException:
            status = 1
        finally:
            os._exit(status)
    os.close(writing)
    return _outcome(child, reading, limit)


def _watched_run(run: Callable[[], object], writable: Iterable[Path]) -> dict[str, Any]:
    from starcli.errors import StarcliError

    heard = os.memfd_create("said")
    for stream in (1, 2):
        os.dup2(heard, stream)
    seen = watched(writable)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time(), time.monotonic() - queued()
    try:
        run()
        ended, words = "read", ""
    except StarcliError as error:
        ended, words = "refused", str(error)[:200_000]
    except BaseException as error:
        ended, words = "raised", f"{type(error).__name__}: {error}"[:300] + _place(error)
    # other work on this machine must not fail a trial: the processor's time, unless it slept
    seconds = time.process_time() - began[0]
    slept = time.monotonic() - queued() - began[1] - seconds
    return {
        "ended": ended,
        "words": words,
        "seconds": seconds + (slept if slept > 10 else 0),
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
        "touched": seen[:10],
        "said": os.pread(heard, 300, 0).decode(errors="replace"),
    }


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " at " + " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))


def _outcome(child: int, reading: int, limit: float) -> Outcome:
    began, content, hung = time.monotonic(), b"", False
    while True:
        ready, _, _ = select.select([reading], [], [], 0.5)
        if not ready:
            hung = time.monotonic() - began - queued(child) > limit
            if not hung:
                continue
            os.kill(child, signal.SIGKILL)
            break
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        content += piece
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if hung:
        return Outcome("hung", f"more than {limit:.0f} s", limit)
    if os.WIFSIGNALED(status):
        return Outcome("crashed", f"signal {os.WTERMSIG(status)}")
    if not content:
        return Outcome("crashed", f"status {status}")
    found = json.loads(content)
    return Outcome(**{**found, "touched": tuple(found["touched"])})


# -- commands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (negative: the signal that killed it), and what it said."""

    status: int
    out: str
    err: str


class Command:
    """`starcli WORDS` in a forked child, in `directory`; `prepare` runs in the child before the command does."""

    def __init__(self, words: Sequence[object], directory: Path, prepare: Callable[[], object] | None = None) -> None:
        self.pid = 0
        outer = directory.parent
        self._out, self._err = outer / f"{directory.name}.out", outer / f"{directory.name}.err"
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(words, directory, prepare)

    def _become(self, words: Sequence[object], directory: Path, prepare: Callable[[], object] | None) -> None:
        status = 99
        try:
            os.chdir(directory)
            for number, path in ((1, self._out), (2, self._err)):
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(handle, number)
                os.close(handle)
            sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
            own_threads()
            status = main([str(word) for word in words], prepare)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            with contextlib.suppress(BaseException):
                traceback.print_exc()
                sys.stderr.flush()
        finally:
            os._exit(status & 0xFF)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; a process that is gone already does not mind."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, limit: float = 120.0) -> Ended:
        """Its end; one that takes longer than `limit`, as `HUNG` is counted, is killed, and says so by its status."""
        began = time.monotonic()
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - began - queued(self.pid) > limit:
                self.kill()
                _, status = os.waitpid(self.pid, 0)
                break
            time.sleep(0.002)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Ended(code, self._out.read_text(errors="replace"), self._err.read_text(errors="replace"))


def own_threads() -> None:
    """In a forked child: have torch make its thread pool anew, before two threads do it at once and one aborts."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(torch.get_num_threads())


def main(words: list[str], prepare: Callable[[], object] | None = None) -> int:
    """The program in this process, as the console script runs it; returns the exit status."""
    from starcli.cli import main as program

    sys.argv = ["starcli", *words]
    if prepare is not None:
        prepare()
    try:
        program.main()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def command(words: Sequence[object], directory: Path, prepare: Callable[[], object] | None = None) -> Ended:
    """Run `starcli WORDS` to its end."""
    return Command(words, directory, prepare).wait()
