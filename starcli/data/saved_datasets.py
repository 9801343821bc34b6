"""Data set `hf:DIR`: a Hugging Face `Dataset` or `DatasetDict` that was saved by `save_to_disk`.

Labels are the column `label` or `labels`, or the only one of classes (`--label-column` says another). Inputs are the
column of images (all of one size, grey or RGB), of numbers (lists or arrays of one shape), or of texts (`text`, or as
`--text-column` says), which become tokens. The splits train, validation and test (`split_called`) are parts; without a
test part the validation part is measured, or a fixed fifth is held out; a test part may be alone. Nothing is fetched,
and no code of it runs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from starcli.data.arrays import divided, image_rows, with_training
from starcli.data.encoded_images import DEEP, opened_image
from starcli.data.image_files import split_called
from starcli.data.loading import Array, Loaded, Part, Request, assemble, check_unpacked
from starcli.data.targets import read_targets, task_of_targets
from starcli.data.text import pad_texts
from starcli.data.text_options import TextOptions
from starcli.data.tokenizers import open_tokenizer
from starcli.data.tokens import assemble_tokens
from starcli.errors import StarcliError, few, first_line
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import CLASSES, OF_TOKENS


@dataclass(frozen=True)
class _Columns:
    """Names of the columns of inputs and labels, and what the inputs are: image, text or numbers."""

    inputs: str
    label: str
    kind: str


def load_saved(request: Request) -> Loaded:
    """Read all splits into memory."""
    path, options = Path(request.rest), request.texts
    if options.task in OF_TOKENS:
        raise StarcliError(f"{path}: --task {options.task} is of texts in a table (text:FILE)")
    splits, unread = _splits(path)
    first = next(iter(splits))
    columns = _columns(splits[first].features, options, path)
    notes = [f"{path}: left unread: {few(unread, 5)}"] if unread else []
    raw = {role: _labels(split, columns, f"{path}, {role}") for role, split in splits.items()}
    task = options.task or task_of_targets(raw[first])
    labels = {role: read_targets(found, task, f"{path}, {role}: {columns.label}") for role, found in raw.items()}
    inputs, vocab_size, tokenizer = _inputs(splits, columns, options, path, notes)
    parts = {role: Part(inputs[role], labels[role], f"{path}, {role}") for role in splits}
    parts, alone = with_training(parts, path, "the test split")
    split, said = divided(parts, path)
    notes += [*alone, *said]
    names = _class_names(splits, columns.label, path) if task == CLASSES else ()
    if vocab_size is not None:
        loaded = assemble_tokens("hf", *split, task=task, vocab_size=vocab_size, class_names=names)
    else:
        known = names or (options.unnamed or () if alone else ())
        loaded = assemble("hf", *split, task=task, num_classes=len(known) or None)
    return replace(loaded, class_names=names, tokenizer=tokenizer, notes=(*notes, *loaded.notes))


def _splits(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The splits that are parts, by role, training or the test part that is alone first, and the names of others."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError:
        raise StarcliError(f"{path}: needs the package datasets", ["pip install 'starcli[data]'"]) from None
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # damaged files make pyarrow raise nearly anything
        raise StarcliError(f"{path}: is no data set of Hugging Face, saved to disk", [first_line(error)]) from error
    for split in found.values() if isinstance(found, DatasetDict) else [found]:
        _check_table(split, path)
    if not isinstance(found, DatasetDict):
        return {"train": found}, []
    names = {role: name for name in found if (role := split_called(name))}
    if "train" not in names and [*names] != ["test"]:
        hint = "a split test may be alone, where a model is measured or predicts"
        raise StarcliError(f"{path}: has no split train, but {few(list(found), 5)}", [hint])
    roles = [role for role in SPLITS if role in names]
    return {role: found[names[role]] for role in roles}, [name for name in found if name not in names.values()]


def _check_table(split: Any, path: Path) -> None:
    """Raise StarcliError for a table of pyarrow's that is damaged: reading its values would end the process."""
    try:
        split.data.validate(full=True)
    except Exception as error:  # pyarrow's own
        raise StarcliError(f"{path}: is damaged", [first_line(error)]) from error


def _columns(features: Mapping[str, Any], options: TextOptions, path: Path) -> _Columns:
    """Which columns are read."""
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    usual = [name for name in ("label", "labels") if name in features]
    label = options.label_column or next(iter(usual or (classes if len(classes) == 1 else [])), None)
    hint = [f"its columns are {few(list(features), 10)}; --label-column and --text-column choose among them"]
    if label is None or label not in features:
        raise StarcliError(f"{path}: {'no column of labels' if label is None else f'no column {label!r}'}", hint)
    text = options.text_column or "text"
    others = [name for name in features if name != label]
    choices: Sequence[tuple[str, Callable[[str], bool]]] = (
        ("text", lambda name: name == text and features[name].__dict__.get("dtype") == "string"),
        ("image", lambda name: kinds[name] == "Image"),
        ("numbers", lambda name: kinds[name] in ("Array2D", "Array3D", "Sequence", "List", "LargeList")),
    )
    for kind, fits in choices:
        if found := [name for name in others if fits(name)]:
            if len(found) > 1:
                raise StarcliError(f"{path}: several columns could be the inputs: {few(found, 5)}")
            return _Columns(found[0], label, kind)
    raise StarcliError(f"{path}: no column of images, texts or arrays", hint)


def _labels(split: Any, columns: _Columns, where: str) -> Array:
    """The labels of a split, which has the columns that are read, each value of them."""
    split = split.with_format(None)
    for name in (columns.inputs, columns.label):
        if name not in split.column_names:
            hint = "a split without it is left out: data.pop('test'), before save_to_disk"
            raise StarcliError(f"{where}: no column {name!r}, which train has", [hint])
        if missing := split.data.column(name).null_count:
            raise StarcliError(f"{where}: {name}: nothing in {missing} of {len(split)} rows")
    try:
        return np.asarray(split[columns.label][:])
    except ValueError as error:
        hint = "labels, any number of which an example has, are lists of 0 and 1, one for each label"
        raise StarcliError(f"{where}: {columns.label}: lists of several lengths", [hint]) from error


def _class_names(splits: Mapping[str, Any], label: str, path: Path) -> tuple[str, ...]:
    """Names of the classes in order, which all splits share; none where labels are plain numbers."""
    named = {role: tuple(getattr(split.features[label], "names", None) or ()) for role, split in splits.items()}
    first = next(iter(named.values()))
    for role, names in named.items():
        if names != first:
            words = f"{few(names, 5) or 'no names'} in {role}, {few(first, 5) or 'none'} in train"
            raise StarcliError(f"{path}: {label}: the classes are numbered otherwise in each split", [words])
    return first


def _inputs(
    splits: Mapping[str, Any], columns: _Columns, options: TextOptions, path: Path, notes: list[str]
) -> tuple[dict[str, Array], int | None, str | None]:
    """Inputs of each part; of texts also how many tokens there are, and the tokenizer's hash."""
    if columns.kind != "text":
        if said := [name for name in (options.text_column, options.tokenizer, options.length) if name is not None]:
            raise StarcliError(f"{path}: {said[0]} is for texts, and its inputs are {columns.kind}")
        return {role: _array(split, columns, f"{path}, {role}") for role, split in splits.items()}, None, None
    tokenizer = open_tokenizer(options.tokenizer)
    texts = [text for split in splits.values() for text in split[columns.inputs]]
    tokens, cut = pad_texts(texts, tokenizer, options, str(path))
    notes += cut
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    return dict(zip(splits, np.split(tokens, ends), strict=True)), tokenizer.vocab_size, tokenizer.sha256


def _array(split: Any, columns: _Columns, where: str) -> Array:
    """Images (N, C, H, W) or numbers (N, ...) of a split."""
    where = f"{where}: {columns.inputs}"
    if columns.kind == "image":
        split = split.cast_column(columns.inputs, split.features[columns.inputs].__class__(decode=False))
    values = list(split.with_format(None)[columns.inputs])
    if columns.kind == "image":
        values = _pixels(values, where)
    try:
        found = np.stack([np.asarray(value) for value in values])
    except ValueError as error:
        hint = "images of any size are read as folder:DIR; or resize them in a function, --data FILE.py:NAME"
        raise StarcliError(f"{where}: of several shapes, expected one", [hint]) from error
    if found.dtype.kind in "iu" and found.dtype != np.uint8:
        found = found.astype(np.float32)
    return image_rows(found, where, "NHWC" if columns.kind == "image" else None)


def _pixels(cells: Sequence[Mapping[str, Any]], where: str) -> list[Array]:
    """Images (H, W) grey or (H, W, 3), decoded here: only what lies in the data set is opened, by readers that we know.

    The package would fetch an image that is named by an address, and has programs started for some formats.
    """
    from PIL import ImageOps

    found = list[Array]()
    for number, cell in enumerate(cells, 1):
        place = f"{where}: row {number}"
        if not cell["bytes"]:
            raise StarcliError(f"{place}: the image lies outside the data set", ["save_to_disk puts images into it"])
        with opened_image(io.BytesIO(cell["bytes"]), place) as image:
            if image.mode.startswith(DEEP):  # cut off, else
                raise StarcliError(f"{place}: pixels of mode {image.mode}, expected 8 bits")
            upright = ImageOps.exif_transpose(image)
            found.append(np.asarray(upright if upright.mode == "L" else upright.convert("RGB")))
        if number == 1:
            stored = sum(len(each["bytes"] or b"") for each in cells)
            check_unpacked(where, len(cells) * found[0].nbytes, stored)
    return found
