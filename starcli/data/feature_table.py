"""Data set `table:FILE`: a table of numbers, .csv, .tsv, .jsonl or .parquet, some columns of which are predicted.

`table:DIR` is a folder of such tables, a part of the data each: train.csv, perhaps val.csv, and test.csv, or one alone.

`--label-column` says which, one or several with commas between them (default `label`); all others are features, numbers
(N, D) that are taken as they are. Labels that are words or whole numbers are classes, in order; numbers with fractions
are predicted as such, and several columns of 0 and 1 are labels, any number of which a row has; `--task` says
otherwise. Without a test part a fifth of the rows is held out for testing (`held_out_fifth`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.arrays import divided, with_training
from starcli.data.loading import Array, Loaded, Part, Request, assemble
from starcli.data.number_columns import flags_as_numbers, numbers_of_columns
from starcli.data.tables import as_test_part, column_names, heading_hint, part_tables, read_columns
from starcli.data.targets import Targets, read_targets, task_of_targets
from starcli.data.text import LABEL, number_parts
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError, few
from starcli.files.number_words import is_number
from starcli.registry.tasks import CLASSES

PANDAS_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""What pandas calls the index that it writes beside the columns, and what it calls one without a name."""

THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
"""A number with commas between thousands."""


@dataclass(frozen=True)
class _Labels:
    """What is predicted in a part: the words of its columns, by name."""

    columns: Mapping[str, Sequence[str]]
    path: Path

    @property
    def where(self) -> str:
        return f"{self.path}: {few(list(self.columns), 3)}"

    @property
    def first(self) -> Sequence[str]:
        return next(iter(self.columns.values()))

    def numbers(self) -> NDArray[np.float32]:
        """The columns as numbers (N, columns)."""
        return numbers_of_columns(self.columns, self.path)


def load_table(request: Request) -> Loaded:
    """Read the tables, take their columns for features and targets, hold a fifth out where there is but one part."""
    path, options = Path(request.rest), request.texts
    files = part_tables(path) if path.is_dir() else {"train": path}
    wanted = (options.label_column or LABEL).split(",")
    features: dict[str, Array] = {}
    labels, read = {}, tuple[str, ...]()
    for role, file in files.items():
        columns = _columns(file, wanted, options, next(iter(files.values())), read)
        read = read or tuple(name for name in columns if name not in wanted)
        features[role] = numbers_of_columns({name: columns[name] for name in read}, file)
        words = {name: columns[name] for name in wanted}
        labels[role] = _Labels(
            words if len(wanted) == 1 else {name: flags_as_numbers(words[name]) for name in wanted}, file
        )
    task = _task([*labels.values()], options)
    targets, names = _targets(labels, task, options)
    parts, notes = with_training({role: Part(features[role], targets[role], str(files[role])) for role in files}, path)
    used, said = divided(parts, path, whole_as=as_test_part(next(iter(files.values()))))
    loaded = assemble("table", *used, task=task, num_classes=len(names) if task == CLASSES else None)
    return replace(loaded, class_names=names, features=read, notes=(*notes, *said, *loaded.notes))


def _columns(
    path: Path, wanted: Sequence[str], options: TextOptions, first: Path, of_first: Sequence[str]
) -> dict[str, list[str]]:
    """The columns of a table, features in the order of the model, else in that `of_first`, of the `first` table."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        if missing := [name for name in wanted if name not in names]:
            choice = f"its columns are {few(names, 10)}; --label-column A,B chooses what is predicted"
            raise StarcliError(
                f"{path}: no column {few([repr(name) for name in missing], 3)}", [heading_hint(names) or choice]
            )
        if strange := [name for name in names if PANDAS_INDEX.fullmatch(name)]:
            hint = "pandas writes none by df.to_csv(..., index=False); the number of a row is nothing to predict from"
            raise StarcliError(f"{path}: the column {strange[0]!r} is an index", [hint])
        if len(names) == len(wanted):
            raise StarcliError(f"{path}: no column is left to predict from")
        found = _read_by_model(names, wanted, options, path)
        if of_first and {*found} != {*of_first}:
            words = f"{few(found, 10)} here, {few(of_first, 10)} in {first.name}"
            raise StarcliError(f"{path}: its columns are not those of {first.name}", [words])
        return [*(of_first or found), *wanted]

    return read_columns(path, choose)


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

    return numbers_of_columns(read_columns(path, choose), path)


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


def _task(parts: Sequence[_Labels], options: TextOptions) -> str:
    """What is predicted: as is said, else what the labels of all parts look like."""
    if options.task is None:
        _refuse_nearly_numbers(parts)
    if options.task != CLASSES and all(is_number(word) for part in parts for word in part.first):
        return options.task or task_of_targets(np.concatenate([part.numbers() for part in parts]))
    if options.task not in (None, CLASSES):
        raise StarcliError(f"{parts[0].where}: words, and --task {options.task} predicts numbers")
    return CLASSES


def _targets(
    parts: Mapping[str, _Labels], task: str, options: TextOptions
) -> tuple[Mapping[str, Targets], tuple[str, ...]]:
    """The targets of each part, and the names of the classes or columns."""
    first = next(iter(parts.values()))
    if task != CLASSES:
        return {role: read_targets(part.numbers(), task, part.where) for role, part in parts.items()}, (*first.columns,)
    if len(first.columns) > 1:
        hint = "--task regression takes whole numbers as such, --task multi-label 0 and 1"
        raise StarcliError(f"{first.where}: several columns of classes, expected one, or numbers", [hint])
    words = {role: part.first for role, part in parts.items()}
    where = {role: part.where for role, part in parts.items()}
    if options.classes or not options.unnamed or not all(is_number(word) for part in words.values() for word in part):
        return number_parts(words, options.classes, where)
    try:
        return number_parts({role: [*map(_whole, part)] for role, part in words.items()}, options.unnamed, where)
    except StarcliError as error:
        own = f"labels are its class numbers, 0 to {len(options.unnamed) - 1}"
        hint = f"the model records no names of classes, so that {own}: write the number of each row's class"
        raise StarcliError(error.summary, [hint]) from error


def _whole(word: str) -> str:
    """A number as whole numbers are written, if it is one.

    >>> _whole("1.0"), _whole("01"), _whole("1.5")
    ('1', '1', '1.5')
    """
    number = float(word)
    return str(int(number)) if number.is_integer() else word


def _refuse_nearly_numbers(parts: Sequence[_Labels]) -> None:
    """StarcliError for words among numbers with fractions, and for commas in numbers: these are no names of classes."""
    for name in parts[0].columns:
        fractions = any(float(word) % 1 > 0 for part in parts for word in part.columns[name] if is_number(word))
        for part in parts:
            for row, word in enumerate(part.columns[name], 1):
                if THOUSANDS.fullmatch(word) or (fractions and word.strip() and not is_number(word)):
                    what = f"{part.path}: {name}: row {row}: {word!r:.40} is no number, and the others are"
                    hint = "write numbers without commas, leave out rows without one; --task classes takes all as words"
                    raise StarcliError(what, [hint])
