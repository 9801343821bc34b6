"""Resolved specs as YAML that a person can read, and that `parse` and `resolve_spec` turn back into the same."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import Fixed, Node, text, with_references
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.solve_sizes import Equation, solve
from starcli.symmetry.archspec.spec import DEFAULT_BUFFERS

_PLAIN = re.compile(r"[A-Za-z_(][A-Za-z0-9_.()+| \-]*")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class KindLines:
    """Lines of a spec on kinds, as text.

    groups: by name of a group `{"kind": "orthogonal", "fixes": "ones"}`, and under "scales" and "signs" ways, names of
        one with blanks between them, ways with ` | ` (see `ways`). powers: by tensor and axis the exponents of each
        group there, in order. folds: the lists of the section `fold`.
    """

    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    powers: Mapping[tuple[str, int], Sequence[tuple[int, ...]]] = field(default_factory=dict)
    folds: Sequence[tuple[str, ...]] = ()

    def of(self, group: UnitGroup, size: Collection[str]) -> dict[str, str]:
        """All that is said of a group, its size only where `size` has it."""
        return (
            ({"size": str(group.size)} if group.name in size else {})
            | ({"within": group.within} if group.within else {})
            | dict(self.groups.get(group.name, {}))
        )

    def axes(self, resolved: Resolved, tensor: str) -> tuple[str, ...]:
        """Expressions of a tensor's axes as a spec writes them: fixed ones as `_`, trailing fixed ones left out."""
        axes = resolved.axes[tensor]
        length = max((i + 1 for i, node in enumerate(axes) if not isinstance(node, Fixed)), default=0)
        return tuple("_" if isinstance(axes[i], Fixed) else self._text(tensor, i, axes[i]) for i in range(length))

    def _text(self, tensor: str, axis: int, node: Node) -> str:
        powers = self.powers.get((tensor, axis))
        if powers is None:
            return text(node)
        left = iter(powers)
        return text(with_references(node, lambda ref: replace(ref, powers=next(left))))


NO_KINDS = KindLines()


def render(resolved: Resolved, kinds: KindLines = NO_KINDS) -> str:
    """Write a resolved spec as YAML, one line for each tensor, with what is said of kinds.

    Trailing fixed axes are left out, other fixed ones are `_`, sizes of groups stand where the tensors do not determine
    them: `resolve_spec(parse(render(r)), r.shapes, buffers=r.buffers) == r`. `to_yaml` is shorter, where blocks repeat.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = parse("{format: 1, tensors: {w1: [h], w2: [_, h]}}")
    >>> print(render(resolve_spec(spec, {"w1": (6, 9), "w2": (3, 6)})), end="")
    format: 1
    tensors:
      w1: [h]
      w2: [_, h]
    """
    need_size = _unsolvable(resolved)
    groups = {name: kinds.of(group, need_size) for name, group in resolved.groups.items()}
    tensors = {name: kinds.axes(resolved, name) for name in resolved.axes if resolved.shapes[name]}
    listed = {name: fields for name, fields in groups.items() if fields}
    return write_yaml(listed, tensors, resolved.tied, _patterns(resolved.buffers), kinds.folds)


def _unsolvable(resolved: Resolved) -> set[str]:
    """Groups whose sizes cannot be solved from the shapes of the tensors alone."""
    equations = [
        Equation(node, n, "")
        for name, axes in resolved.axes.items()
        for node, n in zip(axes, resolved.shapes[name], strict=True)
    ]
    sizes: dict[str, int] = {}
    solve(equations, sizes)
    return resolved.groups.keys() - sizes.keys()


def write_yaml(
    groups: Mapping[str, Mapping[str, str]],
    tensors: Mapping[str, Sequence[str]],
    tied: Sequence[Sequence[str]] = (),
    buffers: Sequence[str] | None = None,
    folds: Sequence[Sequence[str]] = (),
) -> str:
    """The YAML of these lines, whose names and expressions may hold templates, quoted where YAML asks for it."""
    lines = ["format: 2" if any("kind" in fields for fields in groups.values()) else "format: 1"]
    if groups:
        lines.append("groups:")
        lines += [
            f"  {quoted(name)}: {{{', '.join(f'{key}: {_value(key, said)}' for key, said in fields.items())}}}"
            for name, fields in groups.items()
        ]
    lines.append("tensors:" if tensors else "tensors: {}")
    lines += [f"  {quoted(name)}: [{', '.join(map(quoted, axes))}]" for name, axes in tensors.items()]
    if buffers is not None:
        lines.append(f"buffers: [{', '.join(map(quoted, buffers))}]")
    if tied:
        lines.append("tied:")
        lines += [f"  - [{', '.join(map(quoted, names))}]" for names in tied]
    if folds:
        lines.append("fold:")
        lines += [f"  - [{', '.join(map(quoted, names))}]" for names in folds]
    return "\n".join(lines) + "\n"


def _value(key: str, said: str) -> str:
    """What is said of a group under `key`: a word, or a list of ways."""
    if key not in ("scales", "signs"):
        return quoted(said)
    ways = (", ".join(map(quoted, way.split())) for way in said.split(" | "))
    return f"[{', '.join(f'[{way}]' for way in ways)}]"


def quoted(word: str) -> str:
    """`word` as it stands, or in double quotes where YAML would read it otherwise."""
    if _PLAIN.fullmatch(word) and word == word.strip() and word.lower() not in _RESERVED:
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _patterns(buffers: Collection[str]) -> list[str] | None:
    """Patterns for the buffers, None where the default ones match them all; others are named one by one."""
    ends = tuple(pattern.removeprefix("*") for pattern in DEFAULT_BUFFERS)
    others = sorted(name for name in buffers if not name.endswith(ends))
    return [*DEFAULT_BUFFERS, *others] if others else None
