"""A reader that is fuzzed, and what gives it cases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from starcli.errors import StarcliError

from ..costs import Costs

ENOUGH = 20
"""Defects of one reader after which its trial ends."""


@dataclass(frozen=True)
class Target:
    """A reader and sound inputs for it.

    suffix: it reads a file of such a name, `.npz`, or of such a name in a folder, `/config.json`; otherwise bytes.
    beside: sound files in that folder, by their names.
    every: of so many cases one is made, where each takes long.
    """

    name: str
    seeds: list[bytes]
    read: Callable[[Path], object] | Callable[[bytes], object]
    suffix: str = ""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    every: int = 1


class Feeder:
    """Gives cases to a reader, one after the other, and keeps what was wrong, and the bytes that did it in `keep`."""

    def __init__(self, target: Target, place: Path, keep: Path) -> None:
        self.target, self.keep = target, keep
        self.path = place / f"case{target.suffix}"
        self.path.parent.mkdir(exist_ok=True)
        for name, content in target.beside.items():
            self.path.with_name(name).write_bytes(content)
        self.cases, self.defects = 0, list[str]()
        for content in target.seeds:  # what is imported late must not count
            self._read(content)
        self.costs = Costs()

    def feed(self, content: bytes) -> list[str]:
        """What was wrong with this case; a StarcliError is right."""
        self.costs.begin()
        found = self._read(content) + self.costs.defects(len(content))
        if found:
            digest = sha256(content).hexdigest()[:8]
            self.keep.mkdir(exist_ok=True)
            (self.keep / f"{file_name(self.target.name)}.{digest}").write_bytes(content)
            self.defects += [f"case {self.cases} ({digest}): {defect}" for defect in found]
        self.cases += 1
        return found

    def _read(self, content: bytes) -> list[str]:
        try:
            if self.target.suffix:
                self.path.write_bytes(content)
            self.target.read(self.path if self.target.suffix else content)  # type: ignore[arg-type]
        except StarcliError:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an extension's panic is no Exception
            return [f"{type(error).__name__}: {error}"[:300]]
        return []


def file_name(name: str) -> str:
    """The name of a target in those of files of cases that it was broken by.

    >>> file_name("tokenizer.json, of texts")
    'tokenizer.json,-of-texts'
    """
    return name.replace(" ", "-")
