"""Inputs without labels, to predict on: a folder of images that has no class folders, a file of images alone.

They are read as the model's own inputs were: with its shape of an input and its normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from starcli.data.arrays import KEYS, array_names, bytes_or_floats, read_arrays, spelled, unclear_layout
from starcli.data.encoded_images import ImageFiles
from starcli.data.feature_table import has_no_targets, unlabelled_rows
from starcli.data.image_files import has_no_classes, images_in
from starcli.data.image_parts import stored_size
from starcli.data.loading import Array
from starcli.data.names import parse_name
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.normalise_option import AS_THEY_ARE, MeanStd
from starcli.data.splits import MemorySplit, Split
from starcli.data.streaming import StreamedSplit
from starcli.data.text import is_labelled, unlabelled_texts
from starcli.data.text_options import AS_THE_FILE_HAS_IT, TextOptions
from starcli.data.token_arrays import unlabelled_tokens
from starcli.data.tokens import Tokens
from starcli.errors import StarcliError

UNLABELLED_KEYS = tuple(pairs[:2][-1] for pairs in KEYS)
"""Names of an array of images, of the test part or of all, and of the labels that it is without."""


def is_unlabelled(name: str, texts: TextOptions = AS_THE_FILE_HAS_IT) -> bool:
    """Whether the data set `name`, as typed, has inputs and no labels.

    Images right in a folder, an array of images or tokens, a table of texts or numbers without the column of labels.
    """
    kind, rest = parse_name(name)
    path = Path(rest)
    if kind == "folder":
        return path.is_dir() and has_no_classes(path)
    if kind == "text":
        return path.is_file() and not is_labelled(path, texts)
    if kind == "table":
        return path.is_file() and has_no_targets(path, texts)
    return kind == "arrays" and path.is_file() and (_images_key(path) or unlabelled_tokens(path)) is not None


def open_unlabelled_tokens(
    name: str, length: int | None, vocab_size: int | None, texts: TextOptions
) -> tuple[MemorySplit, list[str]]:
    """The tokens of `is_unlabelled` data, and notes; labels mean nothing.

    length: how many tokens the model reads, unless `texts` say otherwise; None for one that reads any number.
    Raises StarcliError for tokens of another length, and beyond the model's `vocab_size` where that is known.
    """
    kind, rest = parse_name(name)
    texts.refuse_useless(kind)
    notes: list[str] = []
    if kind == "text":
        length = texts.length or length
        tokens, notes = unlabelled_texts(Path(rest), replace(texts, length=length))
    else:
        found = unlabelled_tokens(Path(rest)) if kind == "arrays" else None
        if found is None:
            raise StarcliError(f"{name}: has no tokens, which the model takes")
        tokens = found
    return unlabelled_split(checked_tokens(tokens, length, vocab_size, name), Normalisation(1.0, *AS_THEY_ARE)), notes


def open_unlabelled_rows(name: str, width: int, statistics: MeanStd, texts: TextOptions) -> MemorySplit:
    """The rows of a table of numbers without labels, as many columns as the model reads: (N, width).

    texts: with the names of the columns that the model reads, if it records them.
    """
    rows = unlabelled_rows(Path(parse_name(name)[1]), texts)
    if rows.shape[1] != width:
        raise StarcliError(f"{name}: {rows.shape[1]} columns, the model takes {width}")
    return unlabelled_split(torch.from_numpy(rows), Normalisation(1.0, *statistics))


def checked_tokens(tokens: Tokens, length: int | None, vocab_size: int | None, where: str) -> torch.Tensor:
    """Tokens as a model takes them. Raises StarcliError as `open_unlabelled_tokens`."""
    if length is not None and tokens.shape[1] != length:
        raise StarcliError(f"{where}: texts of {tokens.shape[1]} tokens, the model takes {length}")
    if vocab_size is not None and tokens.max() >= vocab_size:
        raise StarcliError(f"{where}: token {tokens.max()}, the model knows 0 to {vocab_size - 1}")
    return torch.from_numpy(tokens)


def open_unlabelled(name: str, input_shape: tuple[int, ...], statistics: MeanStd, spans: Mapping[str, float]) -> Split:
    """The inputs of `is_unlabelled` data, in the shape and with the normalisation of the model that reads them.

    input_shape: (C, H, W) or (D,). statistics: mean and deviation of inputs / span. spans: those of "bytes" and of
    "floats", as far as they are known. Labels mean nothing. Grey images of an array become RGB by three means. Images
    of a folder are RGB, resized and cut as when a model is tested on a labelled folder. Raises StarcliError for inputs
    of another shape or of a type without a span, and for images where the model takes no RGB squares.
    """
    kind, rest = parse_name(name)
    if kind == "folder":
        return _folder(Path(rest), input_shape, Normalisation(BYTES, *statistics))
    path = Path(rest)
    key = _images_key(path) or ""
    contents = read_arrays(path, lambda *_: (key,))
    array = contents.arrays[key]
    shape = _stored_shape(array, input_shape, len(statistics[0]))
    images = _shaped(array, shape, contents.layout, f"{path}: {key}")
    kind = "bytes" if images.dtype == np.uint8 else "floats"
    hint = "--normalise none, imagenet or MEAN:STD says how these are to be normalised"
    if kind not in spans:
        raise StarcliError(f"{path}: {kind}, which the models' own data are not", [hint])
    span = spans[kind]
    if span > 1 and images.max() > span:
        raise StarcliError(
            f"{path}: values up to {images.max():g}, those of the models' own data end at {span:g}", [hint]
        )
    return unlabelled_split(torch.from_numpy(images), Normalisation(span, *statistics))


def unlabelled_split(inputs: torch.Tensor, normalisation: Normalisation) -> MemorySplit:
    """Inputs (N, ...), uint8, float32 or int64, as a split; its labels are -1."""
    return MemorySplit(inputs, _no_labels(len(inputs)), normalisation)


def _no_labels(count: int) -> torch.Tensor:
    return torch.full((count,), -1, dtype=torch.int64)


def _images_key(path: Path) -> str | None:
    """Name of the array of images that is without labels, if there is one."""
    found = array_names(path)
    for key, labels in UNLABELLED_KEYS:
        if (images := spelled(key, found)) is not None:
            return images if spelled(labels, found) is None else None
    return None


def _stored_shape(array: Array, shape: tuple[int, ...], means: int) -> tuple[int, ...]:
    """The shape of an input, or (1, H, W) where three means make RGB of grey images."""
    grey = (1, *shape[1:])
    return grey if len(shape) == 3 and shape[0] == means == 3 and array[:1].size == math.prod(grey) else shape


def _shaped(array: Array, shape: tuple[int, ...], layout: str | None, where: str) -> Array:
    """Images as (N, *shape), contiguous, uint8 or finite float32; those with their channels last are turned."""
    if len(shape) == 3 and shape[0] == 1 and array.ndim == 3:
        array = array[:, None]
    as_it_is = array.shape[1:] == shape and layout != "NHWC"
    turned = len(shape) == 3 and array.shape[1:] == (*shape[1:], shape[0]) and layout != "NCHW"
    if as_it_is and turned:
        raise unclear_layout(array.shape, where)
    if not (as_it_is or turned) or not len(array):
        raise StarcliError(f"{where}: shape {array.shape}, the model takes (N, {', '.join(map(str, shape))})")
    if turned:
        array = array.transpose(0, 3, 1, 2)
    return bytes_or_floats(array, where)


def _folder(directory: Path, shape: tuple[int, ...], normalisation: Normalisation) -> Split:
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise StarcliError(f"{directory}: images are read as RGB squares, the model takes {shape}")
    names, size = images_in(directory), shape[1]
    return StreamedSplit(
        ImageFiles.below(directory, names), _no_labels(len(names)), normalisation,
        stored_size=stored_size(size), input_size=size,
    )  # fmt: skip
