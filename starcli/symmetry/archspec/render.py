"""Resolved specs as YAML that a person can read, and that `parse` and `resolve_spec` turn back into the same."""

import re
from collections.abc import Collection, Mapping, Sequence

from starcli.symmetry.archspec.expression import Fixed, Node, text
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.solve_sizes import Equation, solve
from starcli.symmetry.archspec.spec import DEFAULT_BUFFERS

_PLAIN = re.compile(r"[A-Za-z_(][A-Za-z0-9_.()+| \-]*")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def render(resolved: Resolved, kinds: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Write a resolved spec as YAML, one line for each tensor; `kinds` has what is said of the kind of each group.

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
    groups = {
        name: ({"size": str(group.size)} if name in need_size else {})
        | ({"within": group.within} if group.within else {})
        | dict((kinds or {}).get(name, {}))
        for name, group in resolved.groups.items()
    }
    tensors = {name: moving_axes(axes) for name, axes in resolved.axes.items() if resolved.shapes[name]}
    listed = {name: fields for name, fields in groups.items() if fields}
    return write_yaml(listed, tensors, resolved.tied, _patterns(resolved.buffers))


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
) -> str:
    """The YAML of these lines, whose names and expressions may hold templates, quoted where YAML asks for it."""
    lines = ["format: 2" if any("kind" in fields for fields in groups.values()) else "format: 1"]
    if groups:
        lines.append("groups:")
        lines += [
            f"  {quoted(name)}: {{{', '.join(f'{key}: {quoted(value)}' for key, value in fields.items())}}}"
            for name, fields in groups.items()
        ]
    lines.append("tensors:" if tensors else "tensors: {}")
    lines += [f"  {quoted(name)}: [{', '.join(map(quoted, axes))}]" for name, axes in tensors.items()]
    if buffers is not None:
        lines.append(f"buffers: [{', '.join(map(quoted, buffers))}]")
    if tied:
        lines.append("tied:")
        lines += [f"  - [{', '.join(map(quoted, names))}]" for names in tied]
    return "\n".join(lines) + "\n"


def quoted(word: str) -> str:
    """`word` as it stands, or in double quotes where YAML would read it otherwise."""
    if _PLAIN.fullmatch(word) and word == word.strip() and word.lower() not in _RESERVED:
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def moving_axes(axes: Sequence[Node]) -> tuple[str, ...]:
    """Expressions of a tensor's axes as a spec writes them: fixed ones as `_`, trailing fixed ones left out."""
    length = max((i + 1 for i, node in enumerate(axes) if not isinstance(node, Fixed)), default=0)
    return tuple("_" if isinstance(node, Fixed) else text(node) for node in axes[:length])


def _patterns(buffers: Collection[str]) -> list[str] | None:
    """Patterns for the buffers, None where the default ones match them all; others are named one by one."""
    ends = tuple(pattern.removeprefix("*") for pattern in DEFAULT_BUFFERS)
    others = sorted(name for name in buffers if not name.endswith(ends))
    return [*DEFAULT_BUFFERS, *others] if others else None
