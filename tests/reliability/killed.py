"""Runs that are killed, by the clock and at every step of every write, then typed again: the same bytes, no litter."""

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .trial import Command, Ended, command

TRAIN = ("train", "--arch", "mlp", "--data", "digits", "--limit", "200", "--epochs", "2", "--checkpoint-every", "0",
         "--threads", "1")  # fmt: skip
SEARCH = ("--epochs", "2", "--checkpoint-every", "0", "--threads", "1")

RUNS = {
    "train": (*TRAIN, "--seed", "7", "-o", "out.safetensors"),
    "train, two seeds": (*TRAIN, "--seeds", "7-8", "-o", "out{seed}.safetensors"),
    "star": ("star", "--sources", "0.safetensors", "1.safetensors", *SEARCH, "-o", "out.safetensors"),
    "fuse": ("fuse", "--sources", "0.safetensors", "1.safetensors", *SEARCH, "-o", "out.safetensors"),
}


def import_all() -> None:
    """Import what the commands use, once, so that a fork of this process is a started program."""
    from . import trial

    trial.quiet_import()
    from starcli import bma, comparing, evaluation, measuring, plots, provenance, report  # noqa: F401
    from starcli.data import arrays, digits  # noqa: F401
    from starcli.models import densenet, flat, mlp, resnet  # noqa: F401
    from starcli.star import starlight  # noqa: F401
    from starcli.training import loop  # noqa: F401


def prepare(place: Path) -> Path:
    """Two trained sources and a warm cache below `place`; returns the directory of the sources."""
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    sources = place / "sources"
    sources.mkdir(parents=True)
    ended = learned([*TRAIN, "--seeds", "0-1", "-o", "{seed}.safetensors"], sources)
    if ended.status:
        raise RuntimeError(ended.err)
    for log in sources.glob("*.jsonl"):
        log.unlink()
    return sources


def learned(words: Sequence[object], directory: Path) -> Ended:
    """Run a command, and import here whatever it imported: torch puts off much that the next fork then has already."""
    note = directory.parent / "modules"
    before = set(sys.modules)

    def listing() -> None:
        leave = os._exit

        def leaving(status: int) -> None:
            note.write_text("\n".join(name for name in sys.modules if name not in before))
            leave(status)

        os._exit = leaving  # type: ignore[assignment]

    ended = command(words, directory, listing)
    for name in note.read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    note.unlink()
    return ended


def fresh(sources: Path, place: Path) -> Path:
    """A new directory with links to the sources."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for source in sources.glob("*.safetensors"):
        os.link(source, place / source.name)
    return place


def contents(place: Path) -> dict[str, bytes]:
    """Every file in a directory, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


@dataclass
class Tally:
    """What came of a series of kills."""

    trials: int = 0
    resumed: int = 0
    """Of them, killed when a state was there to go on from."""
    defects: list[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.defects = []


class Killing:
    """One command, what it leaves when nothing happens to it, and what it leaves after it was killed."""

    def __init__(self, words: Sequence[str], sources: Path, place: Path) -> None:
        self.words, self.sources, self.place = words, sources, place
        directory = fresh(sources, place)
        began = time.monotonic()
        ended = command(words, directory)
        self.seconds = time.monotonic() - began
        if ended.status:
            raise RuntimeError(ended.err)
        self.whole = contents(directory)

    def check(self, tally: Tally, moment: str, *, kill: Callable[[Path], Ended]) -> bool:
        """Kill once, run the same line to its end and compare; whether the kill came before the end."""
        directory = fresh(self.sources, self.place)
        if kill(directory).status == 0:
            return False
        tally.trials += 1
        tally.resumed += any(name.endswith(".state") for name in contents(directory))
        again = command(self.words, directory)
        found = contents(directory)
        if again.status:
            tally.defects.append(f"{moment}: {again.status} {again.err.strip()[:300]}")
        elif found != self.whole:
            names = sorted(n for n in found.keys() | self.whole.keys() if found.get(n) != self.whole.get(n))
            tally.defects.append(f"{moment}: differs in {', '.join(names)}")
        return True

    def at_random(self, count: int, seed: int = 0) -> Tally:
        """SIGKILL at `count` moments, uniform over the run's time."""
        tally, draws = Tally(), random.Random(seed)
        attempts = 0
        while tally.trials < count and attempts < 5 * count:
            attempts += 1
            moment = draws.uniform(0, self.seconds)

            def kill(directory: Path, moment: float = moment) -> Ended:
                running = Command(self.words, directory)
                time.sleep(moment)
                running.kill()
                return running.wait()

            self.check(tally, f"after {moment:.3f} s", kill=kill)
        return tally

    def at_writes(self, moments: Iterator[int] | None = None) -> Tally:
        """SIGKILL before and after each flush, rename, removal and partial write, one after the other."""
        tally = Tally()
        for number in range(1, 100_000) if moments is None else moments:
            hit = self.check(
                tally,
                f"at write step {number}",
                kill=lambda directory, number=number: command(self.words, directory, lambda: dying_at(number)),
            )
            if not hit and moments is None:
                break
        return tally


def dying_at(number: int) -> None:
    """Let this process kill itself at the `number`-th step of its writes: nothing gets the chance to clean up."""
    left = [number]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(holder: Any, name: str) -> None:
        plain = getattr(holder, name)

        def stepping(*args: Any, **words: Any) -> Any:
            step()
            result = plain(*args, **words)
            step()
            return result

        setattr(holder, name, stepping)

    around(os, "fsync")
    around(Path, "replace")
    around(Path, "unlink")
    whole = Path.write_bytes

    def halved(path: Path, content: bytes) -> int:
        with path.open("wb") as handle:
            handle.write(content[: len(content) // 2])
            handle.flush()
            step()
        return whole(path, content)

    Path.write_bytes = halved  # type: ignore[method-assign, assignment]


# -- measured once -----------------------------------------------------------------------------------------------------


def interrupted_measurements(sources: Path, place: Path) -> list[str]:
    """`barrier --all-pairs` and `bma` killed, then typed again: what was measured is not measured again."""
    defects = []
    many = place / "many"
    many.mkdir()
    ended = command([*TRAIN, "--seeds", "0-3", "-o", "{seed}.safetensors"], many)
    models = [f"{i}.safetensors" for i in range(4)]
    lines = {
        "barrier": ("barrier", *models, "--all-pairs", "--align", "weight", "--json", "--threads", "1"),
        "bma": ("bma", "--star", models[0], "--sources", *models[1:], "--samples", "3", "--json", "--threads", "1"),
    }
    if ended.status:
        return [ended.err]
    # in the midst: each entry takes nine steps (partial write, flushes, rename, removal), a proof and a spec come first
    for (name, words), steps in zip(lines.items(), (32, 42), strict=True):
        fresh_cache(place, f"cache-{name}-0")
        whole = command(words, many)
        fresh_cache(place, f"cache-{name}")
        killed = command(words, many, lambda step=steps: dying_at(step))
        kept = entries(place / f"cache-{name}")
        again = command(words, many, lambda: counting(many / "measured"))
        measured = int((many / "measured").read_text())
        # of six pairs; of three repeats, three of the entries being those of single models
        expected = {"barrier": 6 - kept.get("barriers", 0), "bma": 3 - max(0, kept.get("bma", 0) - 3)}[name]
        if whole.status or again.status:
            defects.append(f"{name}: {whole.err} {again.err}")
        elif [_numbers(line) for line in again.out.splitlines()] != [_numbers(line) for line in whole.out.splitlines()]:
            defects.append(f"{name}: other results after a kill")
        elif killed.status != -signal.SIGKILL or not 0 < measured < {"barrier": 6, "bma": 3}[name]:
            defects.append(f"{name}: was not killed in its midst: {killed.status}, {kept}, {measured} measured again")
        elif measured != expected:
            defects.append(f"{name}: measured {measured} pairs again, {kept} were kept")
        last = command(words, many, lambda: counting(many / "measured"))
        if int((many / "measured").read_text()) or last.out != again.out:
            defects.append(f"{name}: measured again what was finished")
    return defects


def _numbers(line: str) -> Any:
    return {key: value for key, value in json.loads(line).items() if key != "seconds"}


def fresh_cache(place: Path, name: str) -> None:
    os.environ["XDG_CACHE_HOME"] = str(place / name)


def entries(cache: Path) -> dict[str, int]:
    """How many values of each kind a cache holds."""
    return {kind.name: len(list(kind.glob("*.json"))) for kind in (cache / "starcli").glob("*")}


def counting(note: Path) -> None:
    """Write to `note` how many paths and predictions this process measures."""
    from starcli import bma, path

    counts = [0]
    note.write_text("0")

    def count(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def counted(*args: Any, **words: Any) -> Any:
            counts[0] += 1
            note.write_text(str(counts[0]))
            return plain(*args, **words)

        setattr(module, name, counted)

    count(path, "_walk")
    count(bma, "_repeat")


# -- signals -----------------------------------------------------------------------------------------------------------

LONG = (*TRAIN[:-6], "--epochs", "2000", "--threads", "1", "--seed", "7", "-o", "out.safetensors")


def signalled(number: int, place: Path, *, twice: bool = False) -> list[str]:
    """A long run that is asked to stop: exit status, words, and that the same line goes on."""
    defects = []
    directory = fresh(place / "nothing", place / "signalled") if (place / "nothing").exists() else place / "signalled"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    running = Command(LONG, directory)
    _until(lambda: (directory / "out.metrics.jsonl").exists())
    running.kill(number)
    if twice:
        running.kill(number)
    began = time.monotonic()
    ended = running.wait()
    if ended.status != 128 + number:
        defects.append(f"exit status {ended.status}, expected {128 + number}: {ended.err[-300:]}")
    if not twice and "type the same line again" not in ended.err:
        defects.append(f"does not say how to go on: {ended.err[-200:]}")
    if "Traceback" in ended.err:
        defects.append("shows a traceback")
    if time.monotonic() - began > 5:
        defects.append("took more than 5 s to stop")
    names = set(contents(directory))
    allowed = {"out.safetensors.state", "out.metrics.jsonl"}
    if not names <= allowed or (not twice and names != allowed):
        defects.append(f"leaves {sorted(names)}")
    return defects


def _until(condition: Callable[[], bool], limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit("run python -m tests.reliability")
