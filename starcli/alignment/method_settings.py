"""Settings of alignment methods: the values that each may have, and how it is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from starcli.registry.alignment_methods import ALIGNED_KINDS, GAINS


@dataclass(frozen=True)
class Setting:
    """Setting that only some methods have: its default, the values it may have, and how a title says one of them.

    usual: whether a title says the default, too.
    """

    default: Any
    allows: Callable[[Any], bool]
    range: str
    words: Callable[[Any], str] = str
    usual: bool = False


def _examples(count: int | str) -> str:
    return count if isinstance(count, str) else f"{count} examples"


SETTINGS: Mapping[str, Setting] = {
    "examples": Setting(
        256, lambda n: n == "noise" or (isinstance(n, int) and n >= 2), "at least 2, or noise", _examples, True
    ),
    "share": Setting(0.5, lambda share: 0 < share <= 1, "above 0, at most 1", "share {:g}".format),
    "gains": Setting(GAINS[0], GAINS.__contains__, " or ".join(GAINS)),
    "steps": Setting(200, lambda n: isinstance(n, int) and n >= 1, "at least 1", "{} steps".format, True),
    "lr": Setting(0.02, lambda rate: 0 < rate <= 1, "above 0, at most 1", "learning rate {:g}".format),
    "kinds": Setting(
        None,
        (None, *ALIGNED_KINDS).__contains__,
        " or ".join(ALIGNED_KINDS),
        {"permutation": "permutations alone", "all": "all kinds"}.__getitem__,
    ),
}
"""Settings by name, in the order of titles. Which methods have them, `MatchMethod.settings` says."""

SETTING_TYPES: Mapping[str, tuple[type, str]] = {
    "method": (str, "the name of a method"),
    "restarts": (Integral, "a whole number"),
    "seed": (Integral, "a whole number"),
    "share": (Real, "a number"),
    "lr": (Real, "a number"),
    "ends": (Integral, "a whole number"),
}
"""The type of a setting, and words for it."""


def setting_words(setting: str) -> str:
    """What a setting is called in Python, and on the command line."""
    return f"{setting} (--{setting})" if setting == "restarts" else f"{setting} (--align-{setting})"
