"""Data set `text:FILE`: a table with a column of texts and, unless its own tokens are predicted, one of labels.

Labels are words or numbers: classes are these in order (numbers by their size), and keep them as names. A model that
has classes already gives each label its own. A fifth of the rows is held out for testing (`held_out_fifth`). Texts are
cut at `length` tokens, by default those of the longest text, at most `LONGEST`, and padded to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.loading import Loaded, Part, Request
from starcli.data.masking import mask_tokens
from starcli.data.partition import held_out_fifth
from starcli.data.tables import column_names, read_columns
from starcli.data.text_options import TextOptions
from starcli.data.tokenizers import Tokenizer, open_tokenizer
from starcli.data.tokens import NO_TOKEN, Tokens, assemble_tokens, next_tokens, strata
from starcli.errors import StarcliError, few, short
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN

LONGEST = 128
"""Tokens of a text that are read unless `--length` says otherwise."""
MOST_CLASSES = 10_000
"""More different labels than this are hardly classes."""


TEXT, LABEL = "text", "label"
"""Names of columns unless said otherwise."""


def is_labelled(path: Path, options: TextOptions) -> bool:
    """Whether a table has the column of labels. Raises StarcliError where it lacks one that is named."""
    found = column_names(path)
    if options.label_column not in (None, *found):
        raise StarcliError(f"{path}: no column {options.label_column!r}", _columns(found))
    return (options.label_column or LABEL) in found


def unlabelled_texts(path: Path, options: TextOptions) -> tuple[Tokens, list[str]]:
    """The texts of a table as tokens (N, length), and notes as of `pad_texts`."""
    column = options.text_column or TEXT

    def choose(names: Sequence[str]) -> Sequence[str]:
        if column not in names:
            raise StarcliError(f"{path}: no column {column!r}", _columns(names))
        return (column,)

    texts = read_columns(path, choose)[column]
    return pad_texts(texts, open_tokenizer(options.tokenizer), options, str(path))


def load_text(request: Request) -> Loaded:
    """Read the table, make tokens of the texts, hold a fifth out."""
    path, options = Path(request.rest), request.texts
    text, label = options.text_column or TEXT, options.label_column or LABEL
    task = options.task or CLASSES

    def choose(names: Sequence[str]) -> Sequence[str]:
        nonlocal task
        if options.task is None and label not in names and options.label_column is None:
            task = NEXT_TOKEN
        classify = task == CLASSES
        if options.task == CLASSES and label not in names:
            raise StarcliError(f"{path}: no column {label!r}, which --task {options.task} needs", _columns(names))
        missing = [name for name in (text, *([label] if classify else [])) if name not in names]
        if missing:
            raise StarcliError(f"{path}: no column {few([repr(name) for name in missing], 2)}", _columns(names))
        return (text, label) if classify else (text,)

    columns = read_columns(path, choose)
    tokenizer = open_tokenizer(options.tokenizer, masked=task == MASKED_TOKEN)
    tokens, notes = pad_texts(columns[text], tokenizer, options, str(path))
    names: tuple[str, ...] = ()
    if task == MASKED_TOKEN:
        tokens, labels = mask_tokens(tokens, tokenizer, str(path))
    elif task == NEXT_TOKEN:
        labels = next_tokens(tokens, str(path))
    else:
        names, labels = number_words(columns[label], _classes(columns[label], options), f"{path}: column {label!r}")
        names = options.named or names
    if len(names) > MOST_CLASSES:
        raise StarcliError(f"{path}: {len(names):,} different labels in column {label!r}, expected {MOST_CLASSES:,}")
    if len(tokens) < 2:
        raise StarcliError(f"{path}: {len(tokens)} rows, expected at least 2")
    inner, outer = held_out_fifth(strata(labels))
    train, test = (
        Part(tokens[rows], labels[rows], f"{path}{what}", rows)
        for rows, what in ((inner, ""), (outer, " (held-out fifth)"))
    )
    notes.append(f"{path}: a fifth is held out as the test split, {len(outer)} of {len(inner) + len(outer)}")
    size = tokenizer.vocab_size
    loaded = assemble_tokens("text", train, test, task=task, vocab_size=size, class_names=names, notes=notes)
    return replace(loaded, tokenizer=tokenizer.sha256)


def _classes(words: Sequence[str], options: TextOptions) -> tuple[str, ...] | None:
    """The labels in order, as far as they are settled: names, or where all `words` are numbers of named ones, these."""
    if options.named is None:
        return options.classes
    numbers = tuple(map(str, range(len(options.named))))
    return numbers if set(words) <= set(numbers) else options.named


def _columns(names: Sequence[str]) -> list[str]:
    choice = f"its columns are {few(names, 10)}; --text-column and --label-column choose among them"
    return [choice, "a table of numbers is table:FILE"]


def pad_texts(texts: Sequence[str], tokenizer: Tokenizer, options: TextOptions, where: str) -> tuple[Tokens, list[str]]:
    """Tokens (N, length) of `texts`, those that are longer cut by the tokenizer, and a note on how many were.

    Raises StarcliError for a text of which the tokenizer makes nothing.
    """
    found = tokenizer.encode(texts)
    length = options.length or min(max(map(len, found)), LONGEST)
    if empty := [row for row, each in enumerate(found) if not each]:
        raise StarcliError(f"{where}: the tokenizer makes no token of row {empty[0] + 1}")
    tokens = np.full((len(texts), length), NO_TOKEN, dtype=np.int64)
    long = [row for row, each in enumerate(found) if len(each) > length]
    for row, cut in zip(long, tokenizer.cut([texts[row] for row in long], length) if long else (), strict=True):
        found[row] = cut
    for row, each in enumerate(found):
        tokens[row, : len(each)] = each
    way = "" if options.length else "; --length says otherwise"
    cuts = f"{len(long)} of {len(texts)} texts are longer than {length} tokens, and cut there{way}"
    return tokens, [f"{where}: {cuts}"] if long else []


NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
"""A label that is a number."""


def number_words(
    words: Sequence[str], known: Sequence[str] | None = None, where: str = "labels"
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The different words in order, numbers by their size, and for each of `words` its place among them.

    known: the words in order, if that is settled; they need not all occur.
    Raises StarcliError, with the row, for words that are empty or none of the `known`.

    >>> number_words(["10", "-9", "10"])
    (('-9', '10'), array([1, 0, 1]))
    >>> number_words(["b", "c"], ("a", "b", "c"))
    (('a', 'b', 'c'), array([1, 2]))
    """
    if empty := [row for row, word in enumerate(words, 1) if not word.strip()]:
        raise StarcliError(f"{where}: nothing in row {empty[0]}")
    if known is None:
        known = sorted(set(words))
        if all(map(NUMBER.fullmatch, known)):
            known.sort(key=Decimal)
    place = {word: number for number, word in enumerate(known)}
    if unknown := [row for row, word in enumerate(words, 1) if word not in place]:
        found = words[unknown[0] - 1]
        raise StarcliError(f"{where}: {short(found)!r} in row {unknown[0]}, the model's classes are {few(known, 5)}")
    return tuple(known), np.array([place[word] for word in words], dtype=np.int64)
