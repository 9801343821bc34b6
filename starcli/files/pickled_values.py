"""Objects in an unpickled value that are no plain data, which were skipped, and where they lie."""

import pickle
from typing import Any

DEEPEST = 8
"""Deepest nesting in which what was skipped is looked for."""


class RefusedPickle(pickle.UnpicklingError):
    """A pickle has something that no file of PyTorch's needs; its words are for the user."""


class Skipped:
    """The place of an object of a class or function that is not read: its name (`argparse.Namespace`) is all of it."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        """The name, as in `<argparse.Namespace>`."""
        return f"<{self.kind}>"


class Global(Skipped):
    """The name of a class or function, as a value; what it stands for is never imported."""

    __slots__ = ()


class Dictionary(dict[Any, Any]):
    """A dictionary of a class of its own, such as OrderedDict; of its attributes, a state dict's versions are kept."""

    versions: Any = None
    """`_metadata` of a state dict: what torch knows of the version of each module's tensors."""


def skipped_in(value: Any) -> dict[str, str]:
    """Objects that were skipped in an unpickled value, to a depth of DEEPEST: places (`args`, `lists.0`) and names.

    >>> skipped_in({"epoch": 3, "args": Skipped("argparse.Namespace")})
    {'args': 'argparse.Namespace'}
    """
    found, seen = dict[str, str](), set[int]()
    level = [("", value)] if isinstance(value, Skipped | dict | list | tuple) else []
    for _ in range(DEEPEST):
        below = []
        for place, each in level:
            if isinstance(each, Skipped):
                found[place] = each.kind
            elif id(each) not in seen:
                seen.add(id(each))
                children = each.items() if isinstance(each, dict) else enumerate(each)
                below += [
                    (f"{place}.{key!s:.60}".lstrip("."), child)
                    for key, child in children
                    if isinstance(child, Skipped | dict | list | tuple)
                ]
        level = below
    return found
