"""The small languages of option values: `width=16`, `0-7`, `epoch`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from starcli.errors import StarcliError
from starcli.files.number_words import LARGEST_INTEGER

LARGEST_WEIGHTS = 1 << 20
"""Largest file of class weights in bytes."""


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
    except Exception as error:  # what a tag does to a word raises nearly anything
        raise StarcliError(f"--arch-arg {text}: its value cannot be read") from error
    if not isinstance(found, (bool, int, float, str)):
        raise StarcliError(f"--arch-arg {text}: its value is no number, word, true or false")
    return found


def seed_list(words: Sequence[str] | None, seed: int = 0) -> list[int]:
    """`0-3,7` of `--seeds` as [0, 1, 2, 3, 7], or the one `seed`; anything else, and a seed twice, is an error."""
    if words is not None and seed:
        raise StarcliError(f"--seed {seed} --seeds {' '.join(words)}: expected one of both")
    return [seed] if words is None else number_list(words, "--seeds", "a seed")


def number_list(words: Sequence[str], option: str, what: str) -> list[int]:
    """Whole numbers of an option, each `what` it is: `0-3,7`, in one word or several, as [0, 1, 2, 3, 7]."""
    numbers: list[int] = []
    text = ",".join(words)
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise StarcliError(f"{option} {text}: expected 0-7 or 0,3,5")
        if dash and int(last) < int(first):
            raise StarcliError(f"{option} {text}: {first}-{last} runs backwards, expected {last}-{first}")
        if dash and int(last) - int(first) >= 100_000:
            raise StarcliError(f"{option} {text}: more than 100,000")
        if int(last or first) > LARGEST_INTEGER:
            raise StarcliError(f"{option} {text}: expected at most {LARGEST_INTEGER:,}")
        numbers += range(int(first), int(last or first) + 1)
    if len(set(numbers)) != len(numbers):
        raise StarcliError(f"{option} {text}: {what} occurs twice")
    return numbers


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


def class_weights(text: str) -> str | list[float]:
    """`--class-weights`: balanced, numbers with commas between them, or the numbers in a file of UTF-8.

    >>> class_weights("1,2.5")
    [1.0, 2.5]
    """
    if text == "balanced":
        return text
    words, where = text, f"--class-weights {text}"
    try:
        if Path(text).is_file():
            if Path(text).stat().st_size > LARGEST_WEIGHTS:
                raise StarcliError(f"{where}: a file of more than {LARGEST_WEIGHTS >> 20} MiB, expected numbers")
            words = Path(text).read_text(encoding="utf-8")
        return [float(word) for word in words.replace(",", " ").split()]
    except (OSError, ValueError) as error:
        hint = "numbers have commas, spaces or ends of lines between them, in the order of the classes"
        raise StarcliError(f"{where}: expected balanced, numbers, or a file of numbers", [hint]) from error


def epochs_between(text: str) -> int | Literal["drawn"] | None:
    """`--realign-every`: epoch is 1, never is None, otherwise a number of epochs, or drawn."""
    if text == "never":
        return None
    if text == "drawn":
        return "drawn"
    if text == "epoch":
        return 1
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise StarcliError(f"--realign-every {text}: expected epoch, drawn, never or a number of epochs")
