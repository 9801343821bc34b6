"""Rehearsals: work of which only so much is done as tells how long all of it would take, and nothing is written.

A rehearsal runs the same code as the work itself, so that it cannot say anything else than what that does. Long loops
go through `few_if_rehearsed`, `first_few_if_rehearsed` or `alike_if_rehearsed`, work that comes again and again through
`once_if_rehearsed`; outside of a rehearsal these do nothing. What is left out moves a clock on by what it would have
taken. `files/write.py` asks here before it writes.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")

LEAST, SECONDS, TOO_LONG = 3, 0.5, 5.0
"""Turns of a loop that are taken: one to warm up and two, more until so much time has passed, fewer of long ones."""


@dataclass
class WorkPart:
    """Part of the work: how often it would be done, and the seconds that all of it would take."""

    count: int = 0
    seconds: float = 0.0


class Rehearsal:
    """A rehearsal in progress: parts of the work in their order, files `found` already, sizes of files to write."""

    def __init__(self) -> None:
        self.parts: dict[str, WorkPart] = {}
        self.found: dict[Path, str] = {}
        self.files: dict[Path, int | None] = {}
        self.skipped = 0.0
        self._known: dict[tuple[str, int, object], tuple[float, Any]] = {}
        self._inside = False
        self._began = time.perf_counter()

    def now(self) -> float:
        """Seconds since the beginning, with those of what was left out; GPUs have done their part."""
        _wait_for_gpus()
        return time.perf_counter() - self._began + self.skipped

    def wrote(self, path: Path, size: int | None) -> None:
        """Count a file of `size` bytes (None: not known) in place of writing it."""
        self.files[path] = size

    @contextmanager
    def part(self, what: str, count: int) -> Iterator[None]:
        """Context whose time counts as that of `count` times `what`, unless it is within a part."""
        if self._inside:
            yield
            return
        began, self._inside = self.now(), True
        try:
            yield
        finally:
            self._inside = False
            found = self.parts.setdefault(what, WorkPart())
            found.count, found.seconds = found.count + count, found.seconds + self.now() - began

    def once(self, what: str, count: int, of: object, work: Callable[[], T]) -> T:
        """The result of `work`, done where none is known yet by these three; its time counts each time."""
        with self.part(what, count):
            if (what, count, of) in self._known:
                self.skipped += self._known[what, count, of][0]
            else:
                began = self.now()
                found = work()
                self._known[what, count, of] = self.now() - began, found
            result: T = self._known[what, count, of][1]
            return result

    def some(self, items: Iterable[T], count: int) -> Iterator[T]:
        """The first of `count` items; the others take as long as those after the first one."""
        marks = [self.now()]
        for item in items:
            yield item
            marks.append(self.now())
            if marks[-1] - marks[0] > (SECONDS if len(marks) > LEAST else TOO_LONG):
                break
        done = len(marks) - 1
        if 0 < done < count:
            warm = min(1, done - 1)
            self.skipped += (count - done) * (marks[-1] - marks[warm]) / (done - warm)


def _wait_for_gpus() -> None:
    """Return when the GPUs that torch uses have done all that they were told: it only queues their work."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return
    for number in range(torch.cuda.device_count()):
        if torch.cuda.memory_reserved(number):
            torch.cuda.synchronize(number)


_present: ContextVar[Rehearsal | None] = ContextVar("present rehearsal", default=None)


def present_rehearsal() -> Rehearsal | None:
    """The rehearsal that runs now; None where work is done in earnest."""
    return _present.get()


@contextmanager
def rehearsing() -> Iterator[Rehearsal]:
    """Context of a rehearsal.

    >>> with rehearsing() as found:
    ...     steps = sum(1 for _ in few_if_rehearsed(range(10**9), 10**9))
    ...     answers = [once_if_rehearsed("an answer", lambda: 42) for _ in range(5)]
    >>> steps < 10**9, answers, found.parts["an answer"].count
    (True, [42, 42, 42, 42, 42], 5)
    """
    found = Rehearsal()
    token = _present.set(found)
    try:
        yield found
    finally:
        _present.reset(token)


def few_if_rehearsed(items: Iterable[T], count: int) -> Iterator[T]:
    """All of `count` items; in a rehearsal the first few, which tell the time of the others."""
    rehearsal = _present.get()
    yield from items if rehearsal is None else rehearsal.some(items, count)


def once_if_rehearsed(what: str, work: Callable[[], T], *, count: int = 1, of: object = None) -> T:
    """The result of `work`, which is `count` times `what`; in a rehearsal that of the first call with these `of`."""
    rehearsal = _present.get()
    return work() if rehearsal is None else rehearsal.once(what, count, of, work)


def first_few_if_rehearsed(what: str, items: Sequence[S], work: Callable[[Sequence[S]], Iterable[T]]) -> Iterator[T]:
    """The results of `work`, one for each item, as they come; in a rehearsal those of the first few.

    >>> list(first_few_if_rehearsed("tens", [1, 2, 3], lambda some: (10 * each for each in some)))
    [10, 20, 30]
    """
    rehearsal = _present.get()
    if rehearsal is None or not items:
        yield from work(items)
        return
    with rehearsal.part(what, len(items)):
        for item in rehearsal.some(items, len(items)):
            yield from work([item])


def alike_if_rehearsed(what: str, items: Sequence[S], work: Callable[[Sequence[S]], list[T]]) -> list[T]:
    """The results of `work`, one for each item; in a rehearsal those of the first few, of which one stands for others.

    >>> alike_if_rehearsed("tens", [1, 2, 3], lambda some: [10 * each for each in some])
    [10, 20, 30]
    """
    found = list(first_few_if_rehearsed(what, items, work))
    return found + found[-1:] * (len(items) - len(found))
