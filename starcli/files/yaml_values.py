"""Reading YAML safely: maps, lists and scalars, each with its line.

Every scalar is a string; there are no aliases, anchors, tags or repeated keys, no deep nesting and no large files.
Braces inside a word (`inner.{b}`) are templates of ours; YAML would take them for a map, so they are hidden from it
(character for character, so that lines and columns stay true) and put back afterwards.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from starcli.errors import StarcliError

LARGEST_YAML, MAX_EVENTS, DEEPEST_YAML = 4 * 2**20, 200_000, 6
"""Largest number of characters, of parser events, and of levels within each other."""

_TEMPLATE = re.compile(r"\{[A-Za-z0-9_+\-]{1,200}(?::[A-Za-z0-9_+\-]{1,200})?\}")
_HIDE = str.maketrans("{:}", "\ue000\ue001\ue002")
_SHOW = str.maketrans("\ue000\ue001\ue002", "{:}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class YamlScalar:
    """Word or quoted string, and its line (from 1)."""

    text: str
    line: int


@dataclass(frozen=True)
class YamlList:
    """List, and the line where it begins."""

    items: tuple["YamlValue", ...]
    line: int


@dataclass(frozen=True)
class YamlMap:
    """Map with its items in order, and the line where it begins; no key occurs twice."""

    items: tuple[tuple[YamlScalar, "YamlValue"], ...]
    line: int


YamlValue = YamlScalar | YamlList | YamlMap
"""Any value in a YAML document."""


def read_yaml(text: str, source: str) -> YamlValue:
    """Parse the one document in `text`. Raises StarcliError with `source` and the line where it is not plain YAML.

    >>> read_yaml("lr: 0.1", "my.yaml")
    YamlMap(items=((YamlScalar(text='lr', line=1), YamlScalar(text='0.1', line=1)),), line=1)
    """
    if len(text) > LARGEST_YAML:
        raise StarcliError(f"{source}: {len(text)} characters; a spec has at most {LARGEST_YAML}")
    if any(sign in text for sign in "\ue000\ue001\ue002"):
        raise StarcliError(f"{source}: private-use characters are not allowed")
    hidden = _TEMPLATE.sub(lambda found: found.group().translate(_HIDE), text)
    try:
        reader = _Reader(yaml.parse(hidden, Loader=_LOADER), source)
        return reader.document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}" if mark else source
        if (line := _line_too_deep(hidden)) is not None:  # the parser looks ahead, and has a limit of its own
            raise StarcliError(f"{source}:{line}: nested deeper than {DEEPEST_YAML}") from None
        problem = None if isinstance(error, yaml.reader.ReaderError) else getattr(error, "problem", None)
        words = str(problem or "characters that YAML does not allow").translate(_SHOW)
        # "*.weight" without quotes is an alias to YAML, and libyaml's words for it help nobody.
        hint = "; a name that begins with `*` stands in quotes" if mark and _is_alias(hidden, mark) else ""
        raise StarcliError(f"{place}: {words}{hint}") from None


def _line_too_deep(text: str) -> int | None:
    """Line (from 1) of the first bracket or brace beyond DEEPEST_YAML levels, in YAML that cannot be parsed."""
    depth = 0
    for line, words in enumerate(text.split("\n"), start=1):
        for sign in words:
            depth += (sign in "[{") - (sign in "]}")
            if depth > DEEPEST_YAML:
                return line
    return None


def _is_alias(text: str, mark: Any) -> bool:
    """Whether `mark` stands at or just behind a `*`, by which YAML begins an alias."""
    line = (text.split("\n")[mark.line : mark.line + 1] or [""])[0]
    return "*" in line[max(mark.column - 1, 0) : mark.column + 1]


class _Reader:
    """Builder of values from YAML's events; recursion is bounded by DEEPEST_YAML."""

    def __init__(self, events: Iterator[Any], source: str) -> None:
        self.events, self.source, self.count = events, source, 0

    def next(self) -> Any:
        """Return the next event. Raises StarcliError for aliases, anchors, tags and too many events."""
        self.count += 1
        event = next(self.events)
        if self.count > MAX_EVENTS:
            raise self.error(event, f"more than {MAX_EVENTS} entries")
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, "aliases are not allowed; a name that begins with `*` stands in quotes")
        if getattr(event, "anchor", None) is not None:
            raise self.error(event, "anchors are not allowed")
        if getattr(event, "tag", None) is not None:
            raise self.error(event, "tags are not allowed")
        return event

    def error(self, event: Any, message: str) -> StarcliError:
        """StarcliError with the line of `event`."""
        return StarcliError(f"{self.source}:{event.start_mark.line + 1}: {message}")

    def document(self) -> YamlValue:
        """Read the only document."""
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            raise StarcliError(f"{self.source}: nothing is in it")
        value = self.value(self.next(), 0)
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.error(event, "a second document; a spec is one")
        return value

    def value(self, event: Any, depth: int) -> YamlValue:
        """Read the value that begins with `event`, `depth` levels down."""
        if depth > DEEPEST_YAML:
            raise self.error(event, f"nested deeper than {DEEPEST_YAML}")
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            return YamlScalar(event.value.translate(_SHOW), line)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := self.next(), yaml.SequenceEndEvent):
                items.append(self.value(event, depth + 1))
            return YamlList(tuple(items), line)
        return self.map(line, depth)

    def map(self, line: int, depth: int) -> YamlMap:
        """Read a map up to its end."""
        pairs: dict[str, tuple[YamlScalar, YamlValue]] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.value(event, depth + 1)
            if not isinstance(key, YamlScalar):
                raise self.error(event, "a key is a name")
            if key.text in pairs:
                raise self.error(event, f"the key {key.text!r} stands twice, first in line {pairs[key.text][0].line}")
            pairs[key.text] = (key, self.value(self.next(), depth + 1))
        return YamlMap(tuple(pairs.values()), line)
