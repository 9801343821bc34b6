"""Data set `table:FILE`: a table of numbers, .csv, .tsv, .jsonl or .parquet, some columns of which are predicted.

`--label-column` says which, one or several with commas between them (default `label`); all others are features, numbers
(N, D) that are taken as they are. Labels that are words or whole numbers are classes, in order; numbers with fractions
are predicted as such, and several columns of 0 and 1 are labels, any number of which a row has; `--task` says
otherwise. A fifth of the rows is held out for testing (`held_out_fifth`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.arrays import divided
from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.tables import column_names, read_columns
from starcli.data.targets import Targets, read_targets, task_of_targets
from starcli.data.text import LABEL, MOST_CLASSES, number_words
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError, few
from starcli.registry.tasks import CLASSES

PANDAS_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""What pandas calls the index that it writes beside the columns, and what it calls one without a name."""

THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
"""A number with commas between thousands."""


def load_table(request: Request) -> Loaded:
    """Read the table, take its columns for features and targets, hold a fifth out."""
    path, options = Path(request.rest), request.texts
    wanted = (options.label_column or LABEL).split(",")

    def choose(names: Sequence[str]) -> Sequence[str]:
        if missing := [name for name in wanted if name not in names]:
            hint = f"its columns are {few(names, 10)}; --label-column A,B chooses what is predicted"
            if len(names) == 1 and (marks := [mark for mark in (";", "\t", "|") if mark in names[0]]):
                hint = f"its heading is one name, with {marks[0]!r} in it: a .csv has commas, a .tsv tabs"
            raise StarcliError(f"{path}: no column {few([repr(name) for name in missing], 3)}", [hint])
        if strange := [name for name in names if PANDAS_INDEX.fullmatch(name)]:
            hint = "pandas writes none by df.to_csv(..., index=False); the number of a row is nothing to predict from"
            raise StarcliError(f"{path}: the column {strange[0]!r} is an index", [hint])
        if len(names) == len(wanted):
            raise StarcliError(f"{path}: no column is left to predict from")
        return [*_read_by_model(names, wanted, options, path), *wanted]

    columns = read_columns(path, choose)
    read = [name for name in columns if name not in wanted]
    features = np.stack([_numbers(columns[name], name, path) for name in read], axis=1)
    targets, task, names = _targets([columns[name] for name in wanted], wanted, options, path)
    parts, said = divided({"train": Part(features, targets, str(path))}, path)
    loaded = assemble("table", *parts, task=task, num_classes=len(names) if task == CLASSES else None)
    return replace(loaded, class_names=names, features=tuple(read), notes=(*said, *loaded.notes))


def has_no_targets(path: Path, options: TextOptions) -> bool:
    """Whether a table has no column that is predicted: none is named, and none is called `label`.

    Where one is named that the table has not, as of the models' own data, it holds what the model reads, nothing else.
    """
    names = column_names(path)
    if options.label_column is None:
        return LABEL not in names
    return not {*options.label_column.split(",")} & {*names} and {*names} <= {*(options.features or ())}


def unlabelled_rows(path: Path, options: TextOptions) -> NDArray[np.float32]:
    """The features (N, D) of a table without what is predicted, in the order of the model that reads them."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        return _read_by_model(names, (), options, path)

    columns = read_columns(path, choose)
    return np.stack([_numbers(words, name, path) for name, words in columns.items()], axis=1)


def _read_by_model(names: Sequence[str], wanted: Sequence[str], options: TextOptions, path: Path) -> Sequence[str]:
    """The columns to predict from, in the order of the model that is to read them, by default that of the file."""
    found = [name for name in names if name not in wanted]
    if options.features is None:
        return found
    if missing := [name for name in options.features if name not in found]:
        hint = f"it reads {few(options.features, 10)}; here are {few(found, 10)}"
        raise StarcliError(
            f"{path}: no column {few([repr(name) for name in missing], 3)}, which the model reads", [hint]
        )
    if more := [name for name in found if name not in options.features]:
        raise StarcliError(
            f"{path}: the model does not read {few([repr(name) for name in more], 3)}: leave them out",
            [] if wanted else [f"--label-column {','.join(more)} says what is predicted, if it is that"],
        )
    return options.features


def _targets(
    columns: Sequence[Sequence[str]], wanted: Sequence[str], options: TextOptions, path: Path
) -> tuple[Targets, str, tuple[str, ...]]:
    """What is predicted, its task, and the names of the classes or columns."""
    where = f"{path}: {few(wanted, 3)}"
    if options.task is None:
        for words, name in zip(columns, wanted, strict=True):
            _refuse_nearly_numbers(words, f"{path}: {name}")
    if options.task != CLASSES and all(map(_is_number, columns[0])):
        numbers = np.stack([_numbers(words, name, path) for words, name in zip(columns, wanted, strict=True)], axis=1)
        task = options.task or task_of_targets(numbers)
        if task != CLASSES:
            return read_targets(numbers, task, where), task, tuple(wanted)
    if options.task not in (None, CLASSES):
        raise StarcliError(f"{where}: words, and --task {options.task} predicts numbers")
    if len(columns) > 1:
        hint = "--task regression takes whole numbers as such, --task multi-label 0 and 1"
        raise StarcliError(f"{where}: several columns of classes, expected one, or numbers", [hint])
    words, known = columns[0], options.classes
    if not known and options.unnamed and all(map(_is_number, words)):
        words, known = [_whole(word) for word in words], options.unnamed
    names, labels = number_words(words, known, where)
    if len(names) > MOST_CLASSES:
        raise StarcliError(f"{where}: {len(names):,} different labels, expected {MOST_CLASSES:,} at most")
    return labels, CLASSES, names


def _is_number(word: str) -> bool:
    """Whether a word reads as a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _whole(word: str) -> str:
    """A number as whole numbers are written, if it is one.

    >>> _whole("1.0"), _whole("01"), _whole("1.5")
    ('1', '1', '1.5')
    """
    number = float(word)
    return str(int(number)) if number.is_integer() else word


def _refuse_nearly_numbers(words: Sequence[str], where: str) -> None:
    """StarcliError for words among numbers with fractions, and for commas in numbers: these are no names of classes."""
    fractions = any(float(word) % 1 > 0 for word in words if _is_number(word))
    for row, word in enumerate(words, 1):
        if THOUSANDS.fullmatch(word) or (fractions and word.strip() and not _is_number(word)):
            hint = "write numbers without commas, leave out rows without one; --task classes takes all as words"
            raise StarcliError(f"{where}: row {row}: {word!r:.40} is no number, and the others are", [hint])


def _numbers(words: Sequence[str], name: str, path: Path) -> NDArray[np.float32]:
    """A column as finite numbers (N,). StarcliError with the first row that is none."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported as such
        found = np.array([float(word) if _is_number(word) else math.nan for word in words]).astype(np.float32)
    for row in np.flatnonzero(~np.isfinite(found))[:1]:
        hint = "leave out columns of words and rows where a value is missing, or write numbers in their place"
        raise StarcliError(f"{path}: row {row + 1}: {name}: {words[row]!r:.40} is no number (of 32 bits)", [hint])
    return found
