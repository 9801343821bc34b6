"""Labels of the examples in tar files: numbers in a member of their own, or under a key of a JSON member."""

import json
from collections.abc import Sequence
from typing import Any

from starcli.data.tar_examples import TarExample
from starcli.errors import StarcliError, few

LABEL_MEMBERS = ("cls", "txt", "json")
"""Members that are labels, the first that an example has."""

LARGEST_LABEL = 1 << 16
"""Largest member of a label in bytes."""


def tar_labels(examples: Sequence[TarExample], label_column: str | None) -> list[Any]:
    """Numbers, or lists of as many numbers, of all examples.

    label_column: the member that holds them, or the key of member `json`; by default the first of LABEL_MEMBERS, of
    `json` the key `label`. Raises StarcliError for examples without one, and for what is no number.
    """
    member, key = _place(examples[0], label_column)
    found = [_label(each, member, key) for each in examples]
    lengths = [len(each) if isinstance(each, list) else None for each in found]
    for example, length in zip(examples, lengths, strict=True):
        if length != lengths[0]:
            raise StarcliError(f"{example.where}: {length or 'one'} labels, {lengths[0] or 'one'} in the first example")
    return found


def _place(first: TarExample, label_column: str | None) -> tuple[str, str]:
    """The member that holds the labels, and the key in it where it is a JSON object."""
    usual = [kind for kind in LABEL_MEMBERS if kind in first.members]
    if label_column is None and usual:
        return usual[0], "label"
    if label_column in first.members:
        return str(label_column), "label"
    if label_column is not None and "json" in first.members:
        return "json", label_column
    hint = f"labels are members {', '.join(LABEL_MEMBERS)}; --label-column names another, or a key of member json"
    what = "label" if label_column is None else f"label {label_column!r}"
    raise StarcliError(f"{first.where}: no {what} among {few(list(first.members), 5)}", [hint])


def _label(example: TarExample, kind: str, key: str) -> Any:
    """A number, or a list of numbers."""
    if kind not in example.members:
        raise StarcliError(f"{example.where}: no {kind} among {few(list(example.members), 5)}")
    member = example.members[kind]
    if member.size > LARGEST_LABEL:
        raise StarcliError(f"{member.where}: {member.size:,} bytes, at most {LARGEST_LABEL:,} are read as a label")
    is_json = kind.rpartition(".")[2] == "json"
    try:
        found = json.loads(member.read())
    except (ValueError, RecursionError):
        what = "JSON" if is_json else "a number"
        raise StarcliError(f"{member.where}: cannot be read as {what}") from None
    if is_json:
        if not isinstance(found, dict) or key not in found:
            keys = [f"its keys are {few(list(found), 10)}; --label-column names one"] if isinstance(found, dict) else []
            raise StarcliError(f"{member.where}: no key {key!r}", keys)
        found = found[key]
    numbers = found if isinstance(found, list) else [found]
    if not numbers or not all(isinstance(each, int | float) and abs(each) < 1 << 63 for each in numbers):
        hint = "class names become numbers first: write the number of each example's class"
        raise StarcliError(f"{member.where}: {json.dumps(found)[:40]} is no number", [hint])
    return found
