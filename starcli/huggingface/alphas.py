"""The alphas of an adapter's modules: `lora_alpha`, and `alpha_pattern` by names or regular expressions. No torch."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MOST_EXPRESSIONS = 1_000
"""Largest number of regular expressions in an `alpha_pattern`; names may be any number."""

_NAME = re.compile(r"[\w.-]+")
"""A key that is read as the end of a name; any other is a regular expression of one."""


@dataclass(frozen=True)
class Alphas:
    r"""The alpha of each module, by its name; see `wrong_alphas` for what `own` may be.

    usual: that of modules which no key of `own` means. Of several keys that mean one, the first counts.

    >>> alphas = Alphas(8.0, {"0.q": 2.0, r"layer\.[1-3]\.[qv]": 4.0})
    >>> alphas.of("layer.0.q"), alphas.of("layer.2.v"), alphas.of("layer.2.k")
    (2.0, 4.0, 8.0)
    """

    usual: float
    own: Mapping[str, float]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.own)}

    @cached_property
    def _expressions(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(key, _compiled(key)) for key in self.own if not _NAME.fullmatch(key)]

    def of(self, module: str) -> float:
        """See the class."""
        ends = [module[match.end() :] for match in re.finditer(r"^|\.", module)]
        found = [end for end in ends if end in self.own]
        found += [key for key, names in self._expressions if names.fullmatch(module)]
        return float(self.own[min(found, key=self._places.__getitem__)] if found else self.usual)


def wrong_alphas(config: Mapping[str, Any]) -> str | None:
    """What is wrong with the alphas of a config, if anything is."""
    own = config.get("alpha_pattern") or {}
    if not isinstance(own, Mapping):
        return f"alpha_pattern {str(own)[:60]}, expected numbers by the names of modules"
    for name, alpha in {"lora_alpha": config.get("lora_alpha"), **own}.items():
        if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not abs(alpha) < 1e100:
            return f"alpha {alpha!r:.60} of {name[:60]}, expected a number"
    expressions = [key for key in own if not _NAME.fullmatch(key)]
    if len(expressions) > MOST_EXPRESSIONS:
        return f"alpha_pattern of {len(expressions):,} regular expressions, at most {MOST_EXPRESSIONS:,} are read"
    return next((f"alpha_pattern {key[:60]}, {wrong}" for key in expressions if (wrong := _wrong(key))), None)


def _wrong(expression: str) -> str | None:
    """What is wrong with a regular expression of a stranger's, which is to be looked up in a stranger's names.

    Python's search may take time that doubles with each letter where a group is repeated, and a power of the length
    with the number of repetitions.
    """
    plain = re.sub(r"\\.", "x", expression)
    if re.search(r"\)[*+?{]", plain) or len(re.findall(r"[*+?{]", plain)) > 2:
        return "which could take long: at most two repetitions are read, and none of a group"
    try:
        _compiled(expression)
    except (re.error, OverflowError, RecursionError):
        return "expected names of modules, or regular expressions"
    return None


def _compiled(expression: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what may mean another thing one day
        return re.compile(rf"(.*\.)?({expression})")
