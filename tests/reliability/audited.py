"""All commands under an audit hook: only the named files, our own workers, caches and temporary files; no network."""

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .faults import Row
from .ground import TRAIN, fresh, learned
from .trial import Ended, command

NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "socket.bind",
         "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "webbrowser.open", "os.symlink",
         "os.chown", "http.client.connect", "urllib.Request")  # fmt: skip

# where the line may write and nowhere else
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "shutil.rmtree")

STAR = ("star.safetensors", "--sources", "0.safetensors", "1.safetensors")
QUICK = ("--epochs", "1", "--threads", "1")
COMMANDS: tuple[Sequence[str], ...] = (
    (*TRAIN, "--seeds", "0-2", "-o", "{seed}.safetensors"),
    ("align", "0.safetensors", "1.safetensors", "-o", "aligned.safetensors", "--permutation", "p.safetensors"),
    ("permute", "1.safetensors", "--by", "p.safetensors", "-o", "permuted.safetensors"),
    ("align", "0.safetensors", "1.safetensors", "--method", "learn", "--align-steps", "3", "-o", "learned.safetensors"),
    ("star", "--sources", "0.safetensors", "1.safetensors", *QUICK, "-o", "star.safetensors"),
    ("curve", "0.safetensors", "aligned.safetensors", *QUICK, "-o", "bend.safetensors"),
    ("fuse", "--sources", "0.safetensors", "1.safetensors", *QUICK, "-o", "fused.safetensors"),
    ("interpolate", "0.safetensors", "aligned.safetensors", "--t", "0.5", "-o", "middle.safetensors"),
    ("barrier", "0.safetensors", "aligned.safetensors", "--plot", "barrier.svg"),
    ("barrier", "0.safetensors", "1.safetensors", "2.safetensors", "--all-pairs", "--align", "weight"),
    ("barrier", "--star", *STAR, "--held-out", "2.safetensors"),
    ("bma", "--star", *STAR, "--samples", "3", "--plot", "bma.png"),
    ("plane", "0.safetensors", "1.safetensors", "2.safetensors", "--align", "weight", "--points", "3"),
    ("surface", "0.safetensors", "--points", "3"),
    ("eval", "0.safetensors"),
    ("predict", "0.safetensors", "-o", "predictions.npz"),
    ("plot", "2.metrics.jsonl", "-o", "training.pdf"),
    ("report", "star.safetensors", "0.metrics.jsonl", "-o", "report.html"),
    ("inspect", "star.safetensors", "--verify", "--lineage"),
    ("convert", "0.safetensors", "-o", "0.pt", "--plain"),
    ("convert", "0.pt", "--arch", "mlp", "--data", "digits", "-o", "back.safetensors"),
    ("spec", "show", "0.safetensors"),
    ("spec", "check", "--arch", "mlp", "--data", "digits"),
    ("spec", "derive", "--arch", "mlp", "--data", "digits"),
    ("spec", "list"),
    ("cache", "show"),
    ("cache", "clear"),
)


def watch(note: Path, readable: Sequence[Path], writable: Sequence[Path]) -> None:
    """Write to `note` each event that has no business here, from now on."""
    ours = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    may_write = tuple(os.path.realpath(path) for path in writable)
    may_read = may_write + tuple(os.path.realpath(path) for path in readable)

    def say(event: str, what: object) -> None:
        os.write(ours, f"{event} {what}\n".encode())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            if path != os.devnull and not path.startswith(may_write if writes else may_read):
                say("writes" if writes else "reads", path)
        elif event in CHANGES:
            opened = isinstance(arguments[0], int)  # a descriptor, of whose file `open` has told
            if not opened and not os.path.realpath(os.fsdecode(arguments[0])).startswith(may_write):
                say(event, arguments[0])
        elif event == "socket.connect" and not isinstance(arguments[1], str | bytes):
            say(event, arguments[1])
        elif event in NEVER:
            say(event, arguments[:1])

    sys.addaudithook(hook)


def readable() -> list[Path]:
    """The installation itself: our package and specs, the interpreter, its libraries, and the system's own."""
    import starcli

    root = Path(starcli.__file__).parents[1]
    roots = [root / "starcli", root / "archspecs", Path(sys.base_prefix), Path(sys.prefix),
             Path(sysconfig.get_paths()["stdlib"]), Path("/proc"), Path("/sys"), Path("/usr"), Path("/etc"),
             Path("/lib"), Path("/dev/urandom"), Path(__file__).parent]  # fmt: skip
    return [path for path in roots if path.exists()]


def audit(directory: Path, *, warm: bool) -> Iterator[tuple[str, Ended, list[str]]]:
    """Each command in turn, in `directory`: its words, how it ended, and the events that it should not have caused.

    With `warm` it runs once before, so that what it imports late is imported when the hook is armed.
    """
    note = directory.parent / "events"
    cache = Path(os.environ["XDG_CACHE_HOME"])
    for words in COMMANDS:
        if warm:
            scratch = directory.parent / "scratch"
            shutil.copytree(directory, scratch, dirs_exist_ok=True)
            learned(words, scratch)
            shutil.rmtree(scratch)
        note.write_text("")
        place = [directory, cache, Path(os.environ.get("TMPDIR", "/tmp")) / "torchinductor", Path("/dev/shm/torch_")]

        def arm(place: list[Path] = place) -> None:
            watch(note, readable(), place)

        ended = command(words, directory, arm)
        yield (
            " ".join(words[:2] if words[0] in ("spec", "cache") else words[:1]),
            ended,
            sorted(set(note.read_text().splitlines())),
        )


def rows(sources: Path, place: Path, *, warm: bool = True) -> Iterator[Row]:
    """All commands."""
    # matplotlib lists the system's fonts once for each user, by a program of the system: before the hook is armed
    os.environ["MPLCONFIGDIR"] = str(place / "cache" / "matplotlib")
    import matplotlib.font_manager  # noqa: F401
    import numpy.testing  # noqa: F401  # NumPy 1 asks the system for its processor here, and SciPy imports it late

    tempfile.gettempdir()  # Python finds it by writing a file; torch's compiler asks for it when it is imported
    directory = fresh(sources, place / "audited")
    for path in directory.iterdir():
        path.unlink()
    defects, count = [], 0
    for name, ended, events in audit(directory, warm=warm):
        count += 1
        defects += [f"{name}: exit status {ended.status}: {ended.err[-200:]}"] if ended.status else []
        defects += [f"{name}: {event}" for event in events]
    yield "all commands under an audit hook", count, defects
