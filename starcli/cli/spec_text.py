"""Text of `starcli spec explain`: groups with their tensors, and what is fixed, by its reason."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from starcli.errors import number_of

if TYPE_CHECKING:
    from starcli.workspace.spec_report import Explanation

_NUMBER = re.compile(r"(\d+)")

Place = tuple[str, str]
"""A tensor, or a pattern of several, and its axes in words."""


def explanation_text(found: "Explanation", width: int) -> str:
    """A paragraph for each group, one for groups that differ in a number alone, and one for each reason of fixed axes.

    Names stay whole, whatever the width.
    """
    families: dict[tuple[str, str, tuple[Place, ...]], list[dict[str, Any]]] = {}
    for row in found.groups:
        families.setdefault(_with_variable(found, row, _first_number(row["group"])), []).append(row)
    paragraphs = [_sentence(_all_symmetries(found.symmetries), width)] if families else ["no units can change places"]
    for (heading, kind, places), rows in families.items():
        if len(rows) == 1:
            heading, kind, places = _with_variable(found, rows[0], None)
        else:
            numbers = _runs(str(_first_number(row["group"])) for row in rows)
            heading = heading.replace(":", f", l = {', '.join(each.strip('{}') for each in numbers)}:", 1)
        paragraphs.append(_paragraph(heading, kind, places, width))
    fixed: dict[str, dict[str, list[int]]] = {}
    for row in found.frozen:
        fixed.setdefault(row["reason"], {}).setdefault(row["tensor"], []).append(row["axis"])
    for reason, tensors in fixed.items():
        places = tuple((name, _axes(axes)) for name, axes in tensors.items())
        paragraphs.append(_paragraph(f"fixed: {reason}", "", places, width))
    return "\n\n".join(paragraphs)


def _all_symmetries(row: Mapping[str, Any]) -> str:
    return (
        f"10^{row['log10_symmetries']:.1f} permutations; what acts besides has "
        f"{number_of(row['continuous_dimension'], 'continuous dimension')}"
    )


WORDS = {
    "scaled": "positive scales",
    "orthogonal": "rotations",
    "complex": "a rotation and a scale of each pair",
    "invertible": "invertible matrices",
}
"""What acts on the units of a group, by its kind."""
PAIR_WORDS = {"halves": "units i and i + n / 2", "neighbours": "units 2 i and 2 i + 1"}
"""Which units are a pair, by the layout."""


def kind_words(row: Mapping[str, Any]) -> str:
    """The kind of a group in words, and the operators at which larger kinds break.

    >>> row = {"kind": "scaled", "dimension": 6, "fixes_ones": False, "kept_scales": [], "scalings": 1, "signs": 0}
    >>> kind_words({**row, "pairs": None, "broken_by": {"orthogonal": "relu in 1"}})
    'kind: scaled (positive scales), dimension 6; not orthogonal: relu in 1'
    """
    if row["kind"] is None:
        return ""
    words = f"kind: {row['kind']}"
    words += (
        f" ({WORDS[row['kind']]}{' that fix (1, ..., 1)' if row['fixes_ones'] else ''})" if row["dimension"] else ""
    )
    words += f", dimension {row['dimension']:,}" if row["dimension"] else ""
    scales = 0 if row["kind"] == "invertible" else row["scalings"]  # matrices scale
    besides = [
        *_each_unit_has(scales, "positive scale", own=row["kind"] == "scaled"),
        *_each_unit_has(row["signs"], "sign", own=row["kind"] == "signed"),
    ]
    if besides:
        words += f"; each unit has {' and '.join(besides)}"
    if row["pairs"]:
        words += f"; pairs are {PAIR_WORDS[row['pairs']]}, none change places"
    if row["kept_scales"]:
        kept = [name for name, _ in folded((name, "") for name in row["kept_scales"])]
        words += f"; rotations leave {', '.join(kept)} unchanged"
    reasons: dict[str, list[str]] = {}
    for kind, reason in row["broken_by"].items():
        reasons.setdefault(reason, []).append(kind)
    for reason, kinds in reasons.items():
        *others, last = kinds
        words += f"; not {', '.join(others)}{' or ' if others else ''}{last}" + (f": {reason}" if reason else "")
    return words


def _each_unit_has(count: int, what: str, *, own: bool) -> list[str]:
    """Words for the independent scales or signs of a unit, unless it is the one that its kind speaks of (`own`)."""
    if count <= own:
        return []
    return [f"a {what}" if count == 1 else f"{count} independent {what}s"]


def _with_variable(found: "Explanation", row: dict[str, Any], number: str | None) -> tuple[str, str, tuple[Place, ...]]:
    """The heading of a group, its kind and where it stands, with `{l}` for each part of a name that is `number`."""

    def generic(name: str) -> str:
        return ".".join("{l}" if part == number else part for part in name.split("."))

    within = f" within each of {generic(row['within'])}" if row["within"] else ""
    places = tuple((generic(tensor), _axes(found.axes[row["group"], tensor])) for tensor in row["tensors"])
    heading = f"{generic(row['group'])}: {number_of(row['size'], 'unit')}{within}, {row['verdict']}"
    return heading, generic(kind_words(row)), places


def _first_number(name: str) -> str | None:
    return next((part for part in name.split(".") if part.isdecimal()), None)


def _axes(axes: Sequence[int]) -> str:
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def _paragraph(heading: str, kind: str, places: Iterable[Place], width: int) -> str:
    lines = [_sentence(heading, width)]
    lines += [_sentence(kind, width, "  ")] if kind else []
    rows = folded(places)
    longest = max(len(name) for name, _ in rows)
    return "\n".join([*lines, *(f"  {name:{longest}}  {axes}" for name, axes in rows)])


def _sentence(words: str, width: int, indent: str = "") -> str:
    lines = textwrap.wrap(
        words,
        max(width - 1, 20),
        initial_indent=indent,
        subsequent_indent="    " + indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def folded(places: Iterable[Place]) -> list[Place]:
    """Places with runs of consecutive numbers in names as one.

    >>> folded([("layer1.0.weight", "axis 0"), ("layer1.1.weight", "axis 0"), ("fc.weight", "axis 1")])
    [('layer1.{0..1}.weight', 'axis 0'), ('fc.weight', 'axis 1')]
    """
    rows = [(tuple(_NUMBER.split(name)), axes) for name, axes in places]
    for position in range(1, max(len(parts) for parts, _ in rows), 2):
        alike: dict[tuple[tuple[str, ...], tuple[str, ...], str], list[str]] = {}
        for parts, axes in rows:
            alike.setdefault((parts[:position], parts[position + 1 :], axes), []).extend(parts[position : position + 1])
        rows = [
            ((*before, *run, *after), axes)
            for (before, after, axes), numbers in alike.items()
            for run in ([[each] for each in _runs(numbers)] or [[]])
        ]
    return [("".join(parts), axes) for parts, axes in rows]


def _runs(numbers: Iterable[str]) -> Iterator[str]:
    """Numbers as they are, but for runs: `{0..3}`."""
    order = sorted(numbers, key=lambda number: (int(number), number))
    for _, run in groupby(enumerate(order), lambda each: int(each[1]) - each[0]):
        found = [number for _, number in run]
        yield found[0] if len(found) == 1 else f"{{{found[0]}..{found[-1]}}}"
