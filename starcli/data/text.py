"""Data set `text:FILE`: a table with a column of texts and, unless its own tokens are predicted, others of labels.

`text:DIR` is a folder of such tables, a part of the data each: train.csv, perhaps val.csv, and test.csv, or one alone.

Labels are words or numbers: classes are these in order (numbers by their size), and keep them as names. A model that
has classes already gives each label its own. With `--task regression` labels are numbers, with `--task multi-label` 0
or 1, of one column or several. Without a test part a fifth of the rows is held out. Texts are cut at `length` tokens,
by default those of the longest text, at most `LONGEST`, and padded to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.arrays import divided, with_training
from starcli.data.loading import Loaded, Part, Request
from starcli.data.masking import mask_tokens
from starcli.data.number_columns import flags_as_numbers, numbers_of_columns
from starcli.data.tables import as_test_part, column_names, heading_hint, part_tables, read_columns
from starcli.data.targets import Targets, read_targets
from starcli.data.text_options import TextOptions
from starcli.data.tokenizers import Tokenizer, open_tokenizer
from starcli.data.tokens import NO_TOKEN, Tokens, assemble_tokens, next_tokens
from starcli.errors import StarcliError, few, short
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, MULTI_LABEL, NEXT_TOKEN, OF_TOKENS, REGRESSION

LONGEST = 128
"""Tokens of a text that are read unless `--length` says otherwise."""
MOST_CLASSES = 10_000
"""More different labels than this are hardly classes."""


TEXT, LABEL = "text", "label"
"""Names of columns unless said otherwise."""


def is_labelled(path: Path, options: TextOptions) -> bool:
    """Whether a table has the column of labels. Raises StarcliError where it lacks one that is named.

    A table of texts alone has none, whatever it is called in the models' own data.
    """
    found = column_names(path)
    missing = [name for name in _label_columns(found, options) if name not in found]
    if options.label_column is not None and missing and found != [options.text_column or TEXT]:
        raise StarcliError(f"{path}: no column {few([repr(name) for name in missing], 2)}", _columns(found))
    return not missing


def _label_columns(names: Sequence[str], options: TextOptions) -> tuple[str, ...]:
    """The columns of labels in a table with such columns: the one that is called so, else those between commas."""
    said = options.label_column or LABEL
    return (said,) if said in names else tuple(said.split(","))


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
    """Read the tables, make tokens of the texts, hold a fifth out where there is but a training part."""
    path, options = Path(request.rest), request.texts
    files = part_tables(path) if path.is_dir() else {"train": path}
    task, columns = _read(files, options)
    tokenizer = open_tokenizer(options.tokenizer, masked=task == MASKED_TOKEN)
    tokens, notes = _tokens({role: columns[role][0] for role in files}, files, tokenizer, options)
    names, labels = _targets(task, {role: found[1] for role, found in columns.items()}, files, options)
    parts = {}
    for role, file in files.items():
        if task == MASKED_TOKEN:
            parts[role] = Part(*mask_tokens(tokens[role], tokenizer, str(file)), str(file))
        else:
            found = next_tokens(tokens[role], str(file)) if task == NEXT_TOKEN else labels[role]
            parts[role] = Part(tokens[role], found, str(file))
    parts, alone = with_training(parts, path)
    used, said = divided(parts, path, whole_as=as_test_part(next(iter(files.values()))))
    notes += [*alone, *said]
    size = tokenizer.vocab_size
    loaded = assemble_tokens("text", *used, task=task, vocab_size=size, class_names=names, notes=notes)
    return replace(loaded, tokenizer=tokenizer.sha256)


_Words = Mapping[str, list[str]]
"""The words of columns of labels, by name."""


def _read(files: Mapping[str, Path], options: TextOptions) -> tuple[str, dict[str, tuple[list[str], _Words]]]:
    """The task, by default that which the first table is for, and of each the texts, and its columns of labels."""
    text, task = options.text_column or TEXT, options.task
    labels: Sequence[str] = ()

    def choose(names: Sequence[str]) -> Sequence[str]:
        nonlocal task, labels
        labels = _label_columns(names, options)
        there = all(name in names for name in labels)
        task = task or (CLASSES if there or options.label_column is not None else NEXT_TOKEN)
        if options.task == CLASSES and not there:
            raise StarcliError(f"{path}: no column {labels[0]!r}, which --task {options.task} needs", _columns(names))
        labels = () if task in OF_TOKENS else labels
        if missing := [name for name in (text, *labels) if name not in names]:
            raise StarcliError(f"{path}: no column {few([repr(name) for name in missing], 2)}", _columns(names))
        return (text, *labels)

    found: dict[str, tuple[list[str], _Words]] = {}
    for role, path in files.items():
        columns = read_columns(path, choose)
        found[role] = columns[text], {name: columns[name] for name in labels}
    return task or CLASSES, found


def _targets(
    task: str, words: Mapping[str, _Words], files: Mapping[str, Path], options: TextOptions
) -> tuple[tuple[str, ...], Mapping[str, Targets]]:
    """Names of the classes, or of the columns, and what is predicted in each part; nothing where these are tokens."""
    if task in OF_TOKENS:
        return (), {}
    names = tuple(next(iter(words.values())))
    if task == CLASSES:
        if len(names) > 1:
            hint = f"--task {MULTI_LABEL} takes 0 and 1, --task {REGRESSION} numbers"
            raise StarcliError(f"{next(iter(files.values()))}: several columns of classes, expected one", [hint])
        return _number_labels({role: part[names[0]] for role, part in words.items()}, files, options)
    found = {}
    for role, file in files.items():
        columns = {name: flags_as_numbers(part) for name, part in words[role].items()}
        found[role] = read_targets(numbers_of_columns(columns, file), task, f"{file}: {few(names, 3)}")
    return names, found


def _tokens(
    texts: Mapping[str, Sequence[str]], files: Mapping[str, Path], tokenizer: Tokenizer, options: TextOptions
) -> tuple[dict[str, Tokens], list[str]]:
    """The texts of each part as tokens, all of one length, and notes as of `pad_texts`."""
    found, notes = {}, []
    for role, part in texts.items():
        found[role], cut = pad_texts(part, tokenizer, options, str(files[role]))
        notes += cut
    longest = max(part.shape[1] for part in found.values())
    padding = {role: ((0, 0), (0, longest - part.shape[1])) for role, part in found.items()}
    return {role: np.pad(part, padding[role], constant_values=NO_TOKEN) for role, part in found.items()}, notes


def _number_labels(
    words: Mapping[str, Sequence[str]], files: Mapping[str, Path], options: TextOptions
) -> tuple[tuple[str, ...], Mapping[str, NDArray[np.int64]]]:
    """The names of the classes of all parts together, and the labels of each."""
    column = options.label_column or LABEL
    where = {role: f"{file}: column {column!r}" for role, file in files.items()}
    known = _classes([word for part in words.values() for word in part], options)
    labels, names = number_parts(words, known, where)
    return options.named or names, labels


def _classes(words: Sequence[str], options: TextOptions) -> tuple[str, ...] | None:
    """The labels in order, as far as they are settled: names, or numbers where all `words` are such, and not names."""
    if options.named is None:
        return options.classes
    numbers = tuple(map(str, range(len(options.named))))
    return numbers if set(words) <= set(numbers) and not set(words) <= set(options.named) else options.named


def _columns(names: Sequence[str]) -> list[str]:
    if hint := heading_hint(names):
        return [hint]
    choice = f"its columns are {few(names, 10)}; --text-column and --label-column choose among them"
    return [choice, "a table of numbers is table:FILE, a folder of them table:DIR"]


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


class UnknownLabelError(StarcliError):
    """A label that is none of a model's classes."""


def number_words(
    words: Sequence[str], known: Sequence[str] | None = None, where: str = "labels"
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The different words in order, numbers by their size, and for each of `words` its place among them.

    known: the words in order, if that is settled; they need not all occur.
    Raises StarcliError, with the row, for words that are empty, and UnknownLabelError for none of the `known`.

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
        classes = f"the model's classes are {few(known, 5)}"
        raise UnknownLabelError(f"{where}: {short(found)!r} in row {unknown[0]}, {classes}")
    return tuple(known), np.array([place[word] for word in words], dtype=np.int64)


def number_parts(
    words: Mapping[str, Sequence[str]], known: Sequence[str] | None, where: Mapping[str, str]
) -> tuple[Mapping[str, NDArray[np.int64]], tuple[str, ...]]:
    """The labels of each part, and the different words of all parts together in order: see `number_words`.

    Raises StarcliError, which begins with what `where` calls a part, also for more words than there are classes.
    """
    if not known:
        names = [name for role, part in words.items() for name in number_words(part, None, where[role])[0]]
        known, _ = number_words(names)
    if len(known) > MOST_CLASSES:
        there = next(iter(where.values()))
        raise StarcliError(f"{there}: {len(known):,} different labels, expected {MOST_CLASSES:,} at most")
    return {role: number_words(part, known, where[role])[1] for role, part in words.items()}, tuple(known)
