"""The lines of a spec that name a tensor or a group, by patterns or literally."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, TypeVar

from starcli.errors import StarcliError
from starcli.symmetry.archspec.names import Bindings
from starcli.symmetry.archspec.parse_expression import GrammarError
from starcli.symmetry.archspec.patterns import Pattern
from starcli.symmetry.archspec.spec import GroupLine, Spec, TensorLine

MAX_PATTERNS = 2_000
MAX_TRIES = 500_000
"""Most comparisons of a pattern with a name, in one section."""
Line = TypeVar("Line", GroupLine, TensorLine)


class MatchedLines(Generic[Line]):
    """The lines of one section, by the names that their patterns match.

    A literal beats a pattern; two of a kind that match the same name are a problem.
    """

    def __init__(self, lines: Sequence[Line], variables: Mapping[str, int], source: str, problems: list[str]) -> None:
        self.literal: dict[str, Line] = {}
        self.patterns: dict[int, list[tuple[Pattern, Line]]] = defaultdict(list)
        self.used: set[str] = set()
        self.source, self.tries = source, 0
        if sum("{" in line.pattern or "*" in line.pattern for line in lines) > MAX_PATTERNS:
            raise StarcliError(f"{source}: more than {MAX_PATTERNS} lines with patterns in one section")
        for line in lines:
            try:
                pattern = Pattern(line.pattern, variables)
            except GrammarError as error:
                problems += error.lines(f"{source}:{line.line}")
                continue
            if not pattern.is_literal:
                self.patterns[len(pattern.segments)].append((pattern, line))
            elif pattern.literal in self.literal:
                first = self.literal[pattern.literal]
                problems.append(f"{source}:{line.line}: {pattern.literal} has a line already, line {first.line}")
            else:
                self.literal[pattern.literal] = line

    def matching(self, name: str) -> list[tuple[Line, Bindings]]:
        """The lines that match `name`, each with what its wildcards stand for."""
        if name in self.literal:
            self.used.add(name)
            return [(self.literal[name], {})]
        candidates = self.patterns.get(name.count(".") + 1, ())
        self.tries += len(candidates)
        if self.tries > MAX_TRIES:
            raise StarcliError(f"{self.source}: too many patterns for so many names")
        return [(line, found) for pattern, line in candidates if (found := pattern.match(name)) is not None]

    def unused(self) -> list[tuple[str, int]]:
        """Literal names, with their lines, that matched nothing."""
        return [(name, line.line) for name, line in self.literal.items() if name not in self.used]


def claimed_kinds(
    spec: Spec, groups: Collection[str], variables: Mapping[str, int] | None = None
) -> dict[str, GroupLine]:
    """For each of the resolved `groups` of which `spec` says a kind the line that says it.

    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = parse("{format: 2, groups: {'h.{l}': {kind: scaled}}, tensors: {'{l}.w': ['h.{l}']}}")
    >>> {name: line.kind for name, line in claimed_kinds(spec, ["h.0", "h.1"]).items()}
    {'h.0': 'scaled', 'h.1': 'scaled'}
    """
    lines = MatchedLines(spec.groups, variables or {}, spec.source, [])
    return {name: line for name in groups for line, _ in lines.matching(name) if line.kind != "permutation"}
