"""Data sets from one `.npz` or `.safetensors` file of tokens: `input_ids`, perhaps `attention_mask` and `labels`.

Integers (N, length); the mask is 1 where there is text, in one piece in each row, and labels are classes (N,). With
`train_`, `test_` and `val_` before the names there are parts, as of images (`data.arrays`). Without labels next tokens
are predicted, or where `--task` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from starcli.data.arrays import array_names, divided, load_arrays, read_arrays, spelled
from starcli.data.layout import class_numbers, empty_classes
from starcli.data.loading import Array, Loaded, Part, Request
from starcli.data.tokens import assemble_tokens, next_tokens, token_rows
from starcli.errors import StarcliError, few
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN

IDS, MASK, LABELS = "input_ids", "attention_mask", "labels"
"""Names of arrays."""
PREFIXES = {"train": ("train_", ""), "test": ("test_",), "validation": ("val_",)}
"""What may stand before them, by the part that they are of."""


def load_images_or_tokens(request: Request) -> Loaded:
    """Load the file that the name gives, of tokens if there are any in it."""
    path = Path(request.rest)
    if request.texts.task == MASKED_TOKEN:
        hint = "--data text:FILE masks texts; data in memory may be (tokens, labels) that are masked already"
        raise StarcliError(f"{path}: --task {MASKED_TOKEN} needs texts and their tokenizer", [hint])
    if names := names_of_tokens(path):
        return _load_tokens(path, names, request.texts.task)
    if request.texts.task == NEXT_TOKEN:
        raise StarcliError(f"{path}: there are no {IDS} in it, but tokens are asked for")
    return load_arrays(request)


def names_of_tokens(path: Path) -> dict[str, dict[str, str]]:
    """A file's own names of ids, mask and labels, as far as it has them, by part; empty where it has no ids.

    Raises StarcliError for a mask of nothing: padding would be read as text.
    """
    found = array_names(path)
    parts: dict[str, dict[str, str]] = {}
    for role, prefixes in PREFIXES.items():
        prefix = next((each for each in prefixes if spelled(each + IDS, found)), None)
        if prefix is not None:
            known = {kind: spelled(prefix + kind, found) for kind in (IDS, MASK, LABELS)}
            parts[role] = {kind: name for kind, name in known.items() if name is not None}
    if "train" not in parts:
        return {}
    masks = {spelled(prefix + MASK, found) for prefixes in PREFIXES.values() for prefix in prefixes}
    if unread := masks - {each.get(MASK) for each in parts.values()} - {None}:
        ids = few([each[IDS] for each in parts.values()], 3)
        raise StarcliError(f"{path}: {min(map(str, unread))} belongs to none of the {IDS} there, which are {ids}")
    return parts


def _load_tokens(path: Path, names: Mapping[str, Mapping[str, str]], task: str | None) -> Loaded:
    labelled = [LABELS in each for each in names.values()]
    if (task == CLASSES and not all(labelled)) or len(set(labelled)) > 1:
        raise StarcliError(f"{path}: {IDS} without {LABELS}", [f"found {few(_all(names), 10)}"])
    classify = all(labelled) and task != NEXT_TOKEN
    wanted = [name for name in _all(names) if classify or name not in {each.get(LABELS) for each in names.values()}]
    contents = read_arrays(path, lambda *_: tuple(wanted))
    parts = {role: _part(contents.arrays, each, f"{path}: {each[IDS]}", classify) for role, each in names.items()}
    split, notes = divided(parts, path)
    absent = empty_classes(split[0].labels, int(split[0].labels.max()) + 1) if classify else ""
    loaded = assemble_tokens("arrays", *split, task=CLASSES if classify else NEXT_TOKEN)
    return replace(loaded, notes=(*notes, *([f"{path}: {absent}"] if absent else []), *contents.notes(path)))


def _all(names: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [name for each in names.values() for name in each.values()]


def _part(arrays: Mapping[str, Array], names: Mapping[str, str], where: str, classify: bool) -> Part:
    mask = arrays[names[MASK]] if MASK in names else None
    tokens = token_rows(arrays[names[IDS]], mask, where)
    labels = class_numbers(arrays[names[LABELS]], f"{where}, {names[LABELS]}") if classify else None
    return Part(tokens, next_tokens(tokens, where) if labels is None else labels, where)


def unlabelled_tokens(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    """Tokens (N, length) of a file that has no labels, the test part if it has several; None where it has labels."""
    names = names_of_tokens(path)
    if not names or any(LABELS in each for each in names.values()):
        return None
    own = names.get("test", names["train"])
    arrays = read_arrays(path, lambda *_: tuple(own.values())).arrays
    return token_rows(arrays[own[IDS]], arrays[own[MASK]] if MASK in own else None, f"{path}: {own[IDS]}")
