"""The small languages of option values: `width=16`, `0-7`, `epoch`."""

import math
from typing import Any, Literal

from starcli.errors import StarcliError


def pairs(texts: list[str]) -> dict[str, Any]:
    """`width=16 batch_norm=true` as a dict; values are what YAML makes of a single word."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and name):
            raise StarcliError(f"--arch-arg {text}: not of the form name=value")
        if name in found:
            raise StarcliError(f"--arch-arg {name}: given twice")
        found[name] = _word(text, value)
    return found


def _word(text: str, value: str) -> bool | int | float | str:
    """`value`, of the argument `text`, as what YAML makes of a single word."""
    import yaml

    try:
        found = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StarcliError(f"--arch-arg {text}: its value cannot be read") from error
    if not isinstance(found, (bool, int, float, str)):
        raise StarcliError(f"--arch-arg {text}: its value is no number, word, true or false")
    return found


def seed_list(text: str) -> list[int]:
    """`0-3,7` as [0, 1, 2, 3, 7]; anything else, and a seed twice, is an error."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise StarcliError(f"--seeds {text}: expected 0-7 or 0,3,5")
        if dash and int(last) < int(first):
            raise StarcliError(f"--seeds {text}: {first}-{last} runs backwards, expected {last}-{first}")
        if dash and int(last) - int(first) >= 100_000:
            raise StarcliError(f"--seeds {text}: more than 100,000 seeds")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) != len(seeds):
        raise StarcliError(f"--seeds {text}: a seed occurs twice")
    return seeds


def temperature_of(text: str | None) -> float | Literal["fit"] | None:
    """`--temperature`: fit, or a number above 0."""
    if text is None or text == "fit":
        return text  # type: ignore[return-value]
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise StarcliError(f"--temperature {text}: expected a number above 0, or fit")
    return number


def epochs_between(text: str) -> int | None:
    """`--realign-every`: epoch is 1, never is None, otherwise a number of epochs."""
    if text == "never":
        return None
    if text == "epoch":
        return 1
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise StarcliError(f"--realign-every {text}: expected epoch, never or a number of epochs")
