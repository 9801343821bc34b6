"""Runs that are killed, by the clock and at every step of every write, then typed again: the same bytes, no litter."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch

from .ground import contents, fresh, until
from .trial import Command, Ended, command


@dataclass
class Tally:
    """What came of a series of kills."""

    trials: int = 0
    resumed: int = 0
    """Of them, killed when a state was there to go on from."""
    defects: list[str] = field(default_factory=list)


def has_state(directory: Path) -> bool:
    """Whether a run in this directory has saved where it is."""
    return any(name.endswith(".state") for name in os.listdir(directory))


class Killing:
    """One command, what it leaves when nothing happens to it, and what it leaves after it was killed."""

    def __init__(self, words: Sequence[str], sources: Path, place: Path) -> None:
        self.words, self.sources, self.place = words, sources, place
        directory = fresh(sources, place)
        began = time.monotonic()
        running = Command(words, directory)
        until(lambda: has_state(directory), 10)
        self.first = time.monotonic() - began
        """Seconds until a state is there to go on from."""
        ended = running.wait()
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
        tally.resumed += has_state(directory)
        again = command(self.words, directory)
        found = contents(directory)
        if again.status:
            tally.defects.append(f"{moment}: {again.status} {again.err.strip()[:300]}")
        elif found != self.whole:
            names = sorted(n for n in found.keys() | self.whole.keys() if found.get(n) != self.whole.get(n))
            tally.defects.append(f"{moment}: differs in {', '.join(names)}")
        return True

    def at_random(self, count: int, seed: int = 0) -> Tally:
        """SIGKILL at `count` moments: of five, four between the first state and the end, one before."""
        tally, draws = Tally(), random.Random(seed)
        for _ in range(5 * count):
            if tally.trials == count:
                break
            early = tally.trials % 5 == 4
            moment = draws.uniform(0, self.first if early else self.seconds - self.first)

            def kill(directory: Path, early: bool = early, moment: float = moment) -> Ended:
                running = Command(self.words, directory)
                if not early:  # not by the clock: other work on this machine delays the start
                    until(lambda: has_state(directory), 10)
                time.sleep(moment)
                running.kill()
                return running.wait()

            self.check(tally, f"{moment:.3f} s after {'the start' if early else 'the first state'}", kill=kill)
        return tally

    def at_writes(self, moments: Iterator[int] | None = None) -> Tally:
        """SIGKILL before and after each flush, rename, making, removal and partial write, one after the other."""
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
    around(os, "rmdir")
    around(Path, "mkdir")
    around(Path, "replace")
    around(Path, "unlink")
    whole = Path.write_bytes

    def halved(path: Path, content: bytes) -> int:
        with path.open("wb") as handle:
            handle.write(content[: len(content) // 2])
            handle.flush()
            step()
        return whole(path, content)

    save = safetensors.torch.save_file

    def saved(tensors: Any, path: Path, metadata: Any) -> None:
        """As safetensors does it, which writes to a name of its own first."""
        own = path.with_name(".tmpAbCdEf")
        own.touch()
        step()
        os.unlink(own)
        save(tensors, path, metadata)

    Path.write_bytes = halved  # type: ignore[method-assign, assignment]
    safetensors.torch.save_file = saved
