"""Several data sets as one, for a model that was made of models of each."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from starcli.data.dataset import Dataset
from starcli.data.names import JOINED
from starcli.data.normalisation import Normalisation, prepare_batch
from starcli.data.normalise_option import AS_THEY_ARE, same_statistics
from starcli.data.splits import MemorySplit, Split
from starcli.errors import StarcliError, few
from starcli.registry.tasks import CLASSES, OF_TOKENS


def joined_data(named: Sequence[tuple[str, Dataset]]) -> Dataset:
    """Data sets of the same task, each after the name of its model, as one: split by split, one behind the other.

    Each keeps its own normalisation; where these differ, `mean` and `std` are empty. There is a validation split where
    all have one. One alone is returned as it is.

    StarcliError for data in which inputs or outputs mean different things, and where splits are not held in memory.

    >>> from starcli.data.dataset import open_data
    >>> found = joined_data([("a", open_data("digits")), ("b", open_data("digits", normalise="none"))])
    >>> found.name, len(found.train), found.num_classes, found.mean
    ('joined', 2874, 10, ())
    """
    refuse_other_tasks(named)
    parts = [dataset for _, dataset in named]
    first, *others = parts
    if not others:
        return first
    alike = all(same_statistics((each.mean, each.std), (first.mean, first.std)) for each in others)
    alike = alike and {each.span for each in parts} == {first.span}
    validation = [each.validation for each in parts if each.validation is not None]
    key = [(each.fingerprint, each.limit, each.val_fraction, each.split_seed) for each in parts]
    return replace(
        first,
        name=JOINED,
        num_classes=max(each.num_classes for each in parts),
        fingerprint=hashlib.sha256(repr((JOINED, key)).encode()).hexdigest(),
        written="".join(each.written for each in parts),
        augmentation=(),
        class_names=next((each.class_names for each in parts if each.class_names), ()),
        notes=tuple(dict.fromkeys(note for each in parts for note in each.notes)),
        vocab_size=None if first.vocab_size is None else max(each.vocab_size or 0 for each in parts),
        mean=first.mean if alike else (),
        std=first.std if alike else (),
        train=_joined_splits([each.train for each in parts], alike=alike),
        validation=_joined_splits(validation, alike=alike) if len(validation) == len(parts) else None,
        test=_joined_splits([each.test for each in parts], alike=alike),
        val_fraction=0.0,
        split_seed=0,
        limit=None,
        scaling="",
    )


def refuse_other_tasks(named: Sequence[tuple[str, Dataset]]) -> None:
    """Raise StarcliError with all in which data sets, after their models' names, differ so that no model takes all."""
    problems = []
    for (name, one), (other_name, other) in pairwise(named):
        kinds = [(each.task, each.input_shape, each.vocab_size is None) for each in (one, other)]
        for what, ours, theirs in zip(("what is predicted", "shape of an input", "no tokens"), *kinds, strict=True):
            if ours != theirs:
                problems.append(f"{what}: {ours} of {name}, {theirs} of {other_name}")
        # some of the classes, or of the tokens, may be missing
        if one.num_classes != other.num_classes and one.task not in (CLASSES, *OF_TOKENS):
            problems.append(f"outputs: {one.num_classes} of {name}, {other.num_classes} of {other_name}")
        for what, ours, theirs in (
            ("classes", one.class_names, other.class_names),
            ("columns", one.features, other.features),
        ):
            if ours and theirs and ours != theirs:
                problems.append(f"{what}: {few(ours, 5)} of {name}, {few(theirs, 5)} of {other_name}")
        if one.tokenizer != other.tokenizer:
            problems.append(f"tokenizer: {name} and {other_name} were trained on tokens of different ones")
    if problems:
        raise StarcliError("the sources' data are not for one model", problems)


def _joined_splits(parts: Sequence[Split], *, alike: bool) -> MemorySplit:
    """Splits one behind the other: raw, where all are normalised `alike`, else normalised already."""
    held = [part for part in parts if isinstance(part, MemorySplit)]
    if len(held) < len(parts):
        raise StarcliError("the sources' data do not fit in memory together: --data says what is measured on instead")
    labels = torch.cat([part.labels for part in held])
    forms = {(part.raw.dtype, part.raw.shape[1:], part.input_shape) for part in held}
    if alike and len(forms) == 1:
        raw, normalisation = torch.cat([part.raw for part in held]), held[0].normalisation
        return MemorySplit(raw, labels, normalisation, input_shape=held[0].input_shape)
    return MemorySplit(torch.cat([_normalised(part) for part in held]), labels, Normalisation(1.0, *AS_THEY_ARE))


def _normalised(part: MemorySplit) -> Tensor:
    """All inputs of a split as a network takes them."""
    return prepare_batch(part.raw, part.input_shape, part.normalisation)
