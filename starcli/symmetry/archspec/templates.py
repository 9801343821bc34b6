"""Templates that make names of groups: `g.{l-1}` with l = 3 is `g.2`, `g.{0:l}` is `g.0 + g.1 + g.2`.

`{l}`, `{l-1}`, `{depth+1}` is an integer (a run, if `l` was matched by `{l:name}`), `{0:l}` a range, `{l:0}` its
reverse.
"""

from dataclasses import replace

from starcli.symmetry.archspec.expression import Concat, Fixed, Hole, Node, Ref, children, with_children
from starcli.symmetry.archspec.names import SUM, Bindings, PatternPiece, brace_value, is_group_name, pattern_pieces
from starcli.symmetry.archspec.parse_expression import GrammarError

MAX_RANGE = 2_000


def expand_templates(node: Node, source: str, bindings: Bindings, hole: str) -> Node:
    """The tree with every template filled in. Raises GrammarError.

    Holes get unique keys that begin with `hole`. All ranges of one expression together make at most MAX_RANGE names.

    >>> from starcli.symmetry.archspec.expression import canonical, text
    >>> from starcli.symmetry.archspec.parse_expression import parse_axis
    >>> tree = expand_templates(parse_axis("stem + g.{0:l}"), "stem + g.{0:l}", {"l": 3}, "_")
    >>> text(canonical(tree, {}))
    'stem + g.0 + g.1 + g.2'
    """
    counter = iter(range(len(source) + 1))
    room = MAX_RANGE  # of all ranges together

    def walk(node: Node) -> Node:
        match node:
            case Hole():
                return Hole(f"{hole} {next(counter)}")
            case Ref():
                nonlocal room
                made = _expand_name(node, source, bindings, room)
                room -= len(children(made))
                return made
        return with_children(node, walk)

    return walk(node)


def fill_template(template: str, bindings: Bindings) -> str:
    """The name that a template makes. Raises GrammarError.

    >>> fill_template("head.{l}", {"l": 3})
    'head.3'
    """
    return _fill(list(pattern_pieces(template)), template, bindings)


def check_template(name: str, at: int, source: str) -> None:
    """Raise GrammarError where no values of variables could fill in the template `name`, at place `at` of `source`."""
    for piece in pattern_pieces(name) if "{" in name else ():
        bounds = piece.text.split(":") if not piece.literal else []
        if len(bounds) > 2 or any(SUM.fullmatch(bound) is None for bound in bounds):
            raise GrammarError("{v}, {v-1}, {v+1} or a range {a:b} stands in braces", source, at + piece.at)


def _expand_name(ref: Ref, source: str, bindings: Bindings, room: int) -> Node:
    """A Ref, a Fixed (only braces), or the concatenation that a range stands for."""
    name, at = ref.name, ref.at
    if "{" not in name:
        return ref
    parts = [PatternPiece(piece.text, piece.literal, piece.at + at) for piece in pattern_pieces(name)]
    ranges = [i for i, piece in enumerate(parts) if not piece.literal and ":" in piece.text]
    if not ranges:
        if len(parts) == 1:
            value = brace_value(parts[0], source, bindings)
            if isinstance(value, str) or value < 1:
                raise GrammarError(f"this is {value!r}; a size is a positive integer", source, at)
            if ref.powers:
                raise GrammarError("this is a size, which has no exponent", source, at)
            return Fixed(value)
        return replace(ref, name=_fill(parts, source, bindings))
    if len(ranges) > 1:
        raise GrammarError("one range a name", source, parts[ranges[1]].at)
    i = ranges[0]
    return Concat(
        tuple(
            replace(ref, name=_fill([*parts[:i], PatternPiece(str(k), True, 0), *parts[i + 1 :]], source, bindings))
            for k in _range(parts[i], source, bindings, room)
        )
    )


def _range(piece: PatternPiece, source: str, bindings: Bindings, room: int) -> range:
    """`a:b` -> a ... b-1; where a > b, the reverse of `b:a`."""
    first, last = (
        brace_value(PatternPiece(bound, False, piece.at), source, bindings) for bound in piece.text.split(":", 1)
    )
    if isinstance(first, str) or isinstance(last, str):
        raise GrammarError("a range goes from integer to integer", source, piece.at)
    if abs(first - last) > room:
        raise GrammarError(f"a range of {abs(first - last)}; at most {MAX_RANGE} an expression", source, piece.at)
    return range(first, last) if first <= last else range(first - 1, last - 1, -1)


def _fill(parts: list[PatternPiece], source: str, bindings: Bindings) -> str:
    name = "".join(piece.text if piece.literal else str(brace_value(piece, source, bindings)) for piece in parts)
    if not is_group_name(name):
        raise GrammarError(f"{name!r} cannot name a group", source, parts[0].at if parts else 0)
    return name
