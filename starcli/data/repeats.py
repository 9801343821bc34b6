"""Examples of one split that stand in another too: a test split with some of the training examples flatters models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from starcli.data.dataset import Dataset
from starcli.data.names import IN_MEMORY
from starcli.data.splits import MemorySplit
from starcli.registry.tasks import MASKED_TOKEN

PIECE_BYTES = 16 << 20
"""Rows are widened to whole words so many bytes at a time."""


def repeats_notes(dataset: Dataset, *splits: str) -> tuple[str, ...]:
    """A note for each of the `splits`, by name, in which examples are training examples too.

    Nothing where one part stands for two, which is meant, or other notes say; and where images are decoded anew in each
    pass, since that would take another pass over all of them.
    """
    train, notes = dataset.train, []
    parts = {id(dataset.split(name)): name for name in splits}
    for name in parts.values():
        found = dataset.split(name)
        if not (isinstance(found, MemorySplit) and isinstance(train, MemorySplit)) or _are_one(found, train):
            continue
        if count := repeated_examples(found, train, masked=dataset.task == MASKED_TOKEN):
            share = f"all {count}" if count == len(found) else f"{count} of {len(found)}"
            source = dataset.test_name if name == "test" else dataset.name
            where = f"data {IN_MEMORY}" if source == IN_MEMORY else source
            notes.append(f"{where}: {share} {name} examples are training examples too: figures on them are too good")
    return tuple(notes)


def _are_one(split: MemorySplit, other: MemorySplit) -> bool:
    """Whether these are the same tensors in memory."""
    one, two = split.raw, other.raw
    return (one.data_ptr(), one.shape, one.stride()) == (two.data_ptr(), two.shape, two.stride())


def repeated_examples(split: MemorySplit, train: MemorySplit, *, masked: bool = False) -> int:
    """How many examples of `split` are in `train` too, to the byte, inputs and labels both; 0 of other types or shapes.

    Inputs are what a network is given: texts that differ behind the tokens that are read count as the same, for a
    network that learned the one answers the other as well, and figures on it are too good by just as much.
    A byte of either split costs about 0.2 ns (measured), a quarter of what the fingerprint of the data costs;
    where a row is not of whole words of 8 bytes, up to 2 ns.
    masked: of tokens that were masked, compare the texts as they were before.
    """
    forms = [[(part.dtype, part.shape[1:]) for part in (each.raw, each.labels)] for each in (split, train)]
    if forms[0] != forms[1]:
        return 0
    rows, others = (_rows(each, masked) for each in (split, train))
    keys, known = _keys(rows), _keys(others)
    order = known.argsort(kind="stable")
    place = np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)
    alike = np.flatnonzero(known[order[place]] == keys)
    # equal keys of unequal rows are as good as impossible, unless somebody makes them
    same = np.ones(len(alike), dtype=bool)
    for mine, theirs in zip(rows, others, strict=True):
        same &= (mine[alike] == theirs[order[place[alike]]]).all(axis=1)
    return int(same.sum())


def _rows(split: MemorySplit, masked: bool) -> list[NDArray[np.uint8]]:
    """The bytes of all inputs, and of their labels: (N, bytes) each. The labels of tokens are in their texts."""
    inputs = split.raw
    if masked:
        inputs = torch.where(split.labels >= 0, split.labels, inputs)
    parts = [inputs] if split.per_token else [inputs, split.labels]
    return [each.contiguous().numpy().reshape(len(split), -1).view(np.uint8) for each in parts]


def _keys(parts: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """A number (N,) for each row: the sum of its words, each times a random one, modulo 2^64; equal for equal rows."""
    keys = np.zeros(len(parts[0]), dtype=np.int64)
    for number, rows in enumerate(parts):
        words = -(-rows.shape[1] // 8)
        factors = np.random.RandomState(number).randint(-(2**62), 2**62, words, dtype=np.int64)
        keys += np.concatenate([each @ factors for each in _words(rows)])
    return keys


def _words(rows: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Rows as whole words, (n, words) at a time; the last word of each is filled up with zeros."""
    spare = -rows.shape[1] % 8
    if not spare:
        yield rows.view(np.int64)
        return
    step = max(1, PIECE_BYTES // rows.shape[1])
    for start in range(0, len(rows), step):
        yield np.pad(rows[start : start + step], ((0, 0), (0, spare))).view(np.int64)
