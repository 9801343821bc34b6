"""Resolved specs as short YAML: one line for all layers that repeat, `layer1.{b}.conv1.weight: [...]`.

Names fall into families that differ in their numbers only. In each, every number in an expression is a constant or one
of the name's numbers plus a constant; what fits no rule of its family gets a literal line, which beats the pattern.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from starcli.errors import StarcliError
from starcli.symmetry.archspec.lines import claimed_kinds
from starcli.symmetry.archspec.render import NO_KINDS, KindLines, render, write_yaml
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import Spec, parse

_NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,8})(?![0-9])")
_WORD = re.compile(r"\^[0-9:\-]+|[A-Za-z0-9_.\-]+")  # exponents, and names of groups
_RUN = re.compile(r"(?<![\^:\-'])\b[A-Za-z0-9_.\-]+(?: \+ [A-Za-z0-9_.\-]+(?![A-Za-z0-9_.\-^']))+")
VARIABLES = "lbijkmnpqrst"
SHORTEST_RANGE = 3

Lines = dict[str, tuple[str, ...]]


def to_yaml(
    resolved: Resolved, kinds: KindLines = NO_KINDS, same_kinds: Callable[[Spec], bool] = lambda spec: True
) -> str:
    """Write a resolved spec as YAML with patterns where blocks repeat; `resolve_spec` turns it back into the same.

    `kinds` has what is said of kinds: then it is of format 2, and `same_kinds` tells whether the spec that was written
    says the same. Where two families cannot be kept apart by patterns, every tensor gets its own line (see `render`).

    >>> spec = parse("{format: 1, tensors: {w.1: [h.1, _], w.2: [h.2, h.1], w.3: [h.3, h.2], w.4: [_, h.3]}}")
    >>> shapes = {"w.1": (6, 9), "w.2": (5, 6), "w.3": (6, 5), "w.4": (3, 6)}
    >>> print(to_yaml(resolve_spec(spec, shapes)), end="")
    format: 1
    tensors:
      w.1: [h.1]
      "w.{l}": ["h.{l}", "h.{l-1}"]
      w.4: [_, h.3]
    """
    nested = resolved.around | {name for name, group in resolved.groups.items() if group.within}
    fields = {name: kinds.of(group, nested) for name, group in resolved.groups.items()}
    groups = {name: tuple(f"{key}={value}" for key, value in each.items()) for name, each in fields.items() if each}
    tensors = {name: kinds.axes(resolved, name) for name in resolved.axes if resolved.shapes[name]}
    written = write_yaml(
        {name: dict(each.split("=", 1) for each in said) for name, said in fold_families(groups).items()},
        _starred(fold_families(tensors), set(tensors)),
        resolved.tied,
        folds=folded_ways(kinds.folds),
    )
    try:
        again = parse(written)
        said = {name: line.kind for name, line in claimed_kinds(again, resolved.groups).items()}
        same = said == {name: each["kind"] for name, each in kinds.groups.items()} and same_kinds(again)
        if same and resolve_spec(again, resolved.shapes, buffers=resolved.buffers, whole=True) == resolved:
            return written
    except StarcliError:
        pass  # two families that a pattern cannot keep apart: every tensor gets its own line
    return render(resolved, kinds)


@dataclass(frozen=True)
class Member:
    """One line of a family: its name, the numbers in it, and its expressions."""

    name: str
    numbers: tuple[int, ...]
    expressions: tuple[str, ...]

    @cached_property
    def split(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The expressions with `#` in place of each number of a group's name, and those numbers."""
        slots: list[int] = []

        def take(match: re.Match[str]) -> str:
            slots.append(int(match[0]))
            return "#"

        def word(match: re.Match[str]) -> str:
            return match[0] if match[0].isdecimal() or match[0][0] == "^" else _NUMBER.sub(take, match[0])

        def ranges(expression: str) -> str:
            parts = []
            here = 0
            for brace in re.finditer(r"\{(\d+):(\d+)\}", expression):
                parts.append(_WORD.sub(word, expression[here : brace.start()]))
                slots.extend((int(brace[1]), int(brace[2])))
                parts.append("{#:#}")
                here = brace.end()
            return "".join([*parts, _WORD.sub(word, expression[here:])])

        shapes = tuple(ranges(_ranged(expression)) for expression in self.expressions)
        return shapes, tuple(slots)


def _ranged(expression: str) -> str:
    """The expression with runs as ranges: `a + g.0 + g.1 + g.2` becomes `a + g.{0:3}`."""
    return _RUN.sub(lambda match: " + ".join(_runs(match[0].split(" + "))), expression)


def _runs(words: Sequence[str]) -> Iterator[str]:
    """The parts of a sum, with runs of consecutive numbers in names as one range each."""
    here = 0
    while here < len(words):
        best = (1, words[here])
        for at in _NUMBER.finditer(words[here]):
            head, tail, first = words[here][: at.start()], words[here][at.end() :], int(at[0])
            length = 1
            while here + length < len(words) and words[here + length] == f"{head}{first + length}{tail}":
                length += 1
            if length >= SHORTEST_RANGE and length > best[0]:
                best = (length, f"{head}{{{first}:{first + length}}}{tail}")
        here += best[0]
        yield best[1]


def fold_families(lines: Mapping[str, tuple[str, ...]]) -> Lines:
    """As few lines (pattern -> expressions) as the families allow, in the order of their first members."""
    families: dict[str, list[Member]] = defaultdict(list)
    for name, expressions in lines.items():
        numbers = tuple(int(match[0]) for match in _NUMBER.finditer(name))
        families[_NUMBER.sub("#", name)].append(Member(name, numbers, expressions))
    order = {name: i for i, name in enumerate(lines)}
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for template, members in families.items():
        for first, name, expressions in _folded(template, members):
            found.append((order[first], name, expressions))
    return {name: expressions for _, name, expressions in sorted(found)}


def folded_ways(ways: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """As few ways (lists of names) as the families of their first names allow."""
    families = fold_families({first: tuple(rest) for first, *rest in ways})
    return [(first, *rest) for first, rest in families.items()]


def _folded(template: str, members: list[Member]) -> list[tuple[str, str, tuple[str, ...]]]:
    """The lines of a family: (first member's name, pattern, expressions) each."""
    literal = [(m.name, m.name, m.expressions) for m in members]
    if len(members) == 1:
        return literal
    best = _pattern(template, members)
    for i in range(len(members[0].numbers)):
        parts: dict[int, list[Member]] = defaultdict(list)
        for member in members:
            parts[member.numbers[i]].append(member)
        if 1 < len(parts) < len(members):
            tried = [line for part in parts.values() for line in _folded(template, part)]
            best = tried if best is None or len(tried) < len(best) else best
    return best if best is not None and len(best) < len(literal) else literal


def _pattern(template: str, members: list[Member]) -> list[tuple[str, str, tuple[str, ...]]] | None:
    """One pattern for most members, and literal lines for the others."""
    shape = Counter(member.split[0] for member in members).most_common(1)[0][0]
    alike = [member for member in members if member.split[0] == shape]
    rules = [_rule([(m.numbers, m.split[1][k]) for m in alike]) for k in range(len(alike[0].split[1]))]
    fitting = [m for m in alike if all(_apply(r, m.numbers) == n for r, n in zip(rules, m.split[1], strict=True))]
    if len(fitting) < 2:
        return None
    varying = [i for i in range(len(members[0].numbers)) if len({m.numbers[i] for m in members}) > 1]
    names = {i: VARIABLES[k % len(VARIABLES)] for k, i in enumerate(varying)}
    if len(varying) > len(VARIABLES):
        return None
    filled = iter([f"{{{names[i]}}}" if i in names else str(n) for i, n in enumerate(members[0].numbers)])
    pattern = re.sub("#", lambda _: next(filled), template)
    texts = iter(_text(rule, names, members[0].numbers) for rule in rules)
    expressions = tuple(_filled(expression, texts) for expression in shape)
    others = [m for m in members if m not in fitting]
    return [(fitting[0].name, pattern, expressions), *((m.name, m.name, m.expressions) for m in others)]


FamilyRule = tuple[int | None, int]
"""How a number in an expression follows from those in the name: (which one, what is added), or (None, constant)."""


def _rule(samples: Sequence[tuple[tuple[int, ...], int]]) -> FamilyRule:
    """The rule that most samples follow; a constant before a number, a number alone before a sum."""
    votes: Counter[FamilyRule] = Counter()
    for numbers, value in samples:
        votes[(None, value)] += 1
        # further away than a neighbour it is a coincidence that nobody wants to read
        votes.update({(i, value - number) for i, number in enumerate(numbers) if abs(value - number) <= 1})
    return max(votes, key=lambda r: (votes[r], r[0] is None, r[1] == 0, -abs(r[1]), -(r[0] or 0)))


def _apply(rule: FamilyRule, numbers: tuple[int, ...]) -> int:
    return rule[1] if rule[0] is None else numbers[rule[0]] + rule[1]


def _text(rule: FamilyRule, names: Mapping[int, str], numbers: tuple[int, ...]) -> str:
    """The rule as it stands in braces: `3`, `l`, `l-1`."""
    if rule[0] is None or rule[0] not in names:
        return str(_apply(rule, numbers))
    return names[rule[0]] + (f"{rule[1]:+d}" if rule[1] else "")


def _filled(expression: str, texts: Iterator[str]) -> str:
    """Numbers back in place of `#`; those outside a range stand in braces of their own if they are no digits."""

    def put(match: re.Match[str]) -> str:
        if match[0] == "{#:#}":
            return f"{{{next(texts)}:{next(texts)}}}"
        text = next(texts)
        return text if text.isdecimal() else f"{{{text}}}"

    return re.sub(r"\{#:#\}|#", put, expression)


def _starred(lines: Lines, tensors: set[str]) -> Lines:
    """Write `bn1.*` for `bn1.weight`, `bn1.bias`, ... with the same axes, where these are all that `bn1` has."""
    ends: dict[str, set[str]] = defaultdict(set)
    for name in tensors:
        head, _, tail = name.rpartition(".")
        ends[_family(head)].add(tail)
    heads: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    wild: set[str] = set()
    for pattern, axes in lines.items():
        head, _, tail = pattern.rpartition(".")
        heads[head, axes].add(tail)
        if "{" in head:
            wild.add(_family(head))
    found: Lines = {}
    for pattern, axes in lines.items():
        head, _, tail = pattern.rpartition(".")
        together = head and len(heads[head, axes]) > 1 and heads[head, axes] == ends[_family(head)]
        # an exception beats the pattern of its family only as a literal line
        alone = "{" not in head and _family(head) in wild
        found[f"{head}.*" if together and not alone else pattern] = axes
    return found


def _family(head: str) -> str:
    """The name or pattern with `#` for each number or variable."""
    return re.sub(r"\{[a-z]\}", "#", _NUMBER.sub("#", head))
