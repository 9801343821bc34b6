"""Ways to act on a group, written as lists of tensors: `[bn1.weight, bn1.bias, conv2.weight']`.

    item := name ('/' axis ('/' copy)?)? mark?     the tensor or module `name`, on one axis, one of its copies there

A module stands for all its tensors that bear the group, a name with `*` for all that match. Variables in the first name
make a way of each value that matches; braces in the others are filled in with it.
"""

import re
from dataclasses import dataclass

from starcli.symmetry.archspec.names import pattern_pieces
from starcli.symmetry.archspec.parse_expression import MARK, NAME, GrammarError
from starcli.symmetry.archspec.stacked import MEMBERS

_PLACE = re.compile(r"/([0-9]{1,2})(?:/([0-9]{1,3}))?")


@dataclass(frozen=True)
class WayItem:
    """One name of a way, where it is meant, and the exponent there; None: any axis, all copies, no exponent said."""

    text: str
    name: str
    axis: int | None = None
    copy: int | None = None
    power: int | None = None


@dataclass(frozen=True)
class WayLine:
    """A way to act on a group as a spec writes it: a list of tensors."""

    items: tuple[WayItem, ...]
    line: int


def parse_way_item(text: str) -> WayItem:
    """Parse one name of a way. Raises GrammarError.

    >>> parse_way_item("cells.weight_hh_l0/0/2'")
    WayItem(text="cells.weight_hh_l0/0/2'", name='cells.weight_hh_l0', axis=0, copy=2, power=-1)
    """
    end = min((at for sign in "/'^" if (at := text.find(sign)) >= 0), default=len(text))
    name, place, power = text[:end], _PLACE.match(text, end), None
    if not name or any(each.isspace() for each in text):
        raise GrammarError("the name of a tensor or module stands here, such as bn1.weight or conv2'", text, 0)
    for piece in pattern_pieces(name):
        if piece.literal and NAME.fullmatch(piece.text.replace(MEMBERS, "0")) is None:
            raise GrammarError(f"{piece.text!r} is in no name", text, piece.at)
    end = place.end() if place else end
    if end < len(text):
        found = MARK.fullmatch(text, end)
        if found is None or ":" in text[end:]:
            raise GrammarError("behind a name stands /axis, /axis/copy, a prime or one exponent", text, end)
        power = int(found[1]) if found[1] else -1
    axis, copy = (place[1], place[2]) if place else (None, None)
    return WayItem(text, name, None if axis is None else int(axis), None if copy is None else int(copy), power)
