"""Data sets from tensors, torch data sets and loaders in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from starcli.data.dataset import Dataset
from starcli.data.layout import channels_are_last, empty_classes
from starcli.data.memory_arrays import ArrayLike, as_inputs, as_tensor, is_array, readable_by_numpy
from starcli.data.names import IN_MEMORY
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.normalise_option import AS_THEY_ARE
from starcli.data.random_transforms import notes_of_draws
from starcli.data.splits import MemorySplit
from starcli.data.table_columns import features_of, refuse_unlike_tables, targets_of
from starcli.data.targets import check_targets, read_targets, task_of_targets
from starcli.data.tokens import are_next_tokens, given_next_tokens, next_tokens, token_rows
from starcli.errors import StarcliError, first_line, number_of, type_in_words
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN, OF_TOKENS
from starcli.runtime.global_generator import generator_borrowed

Examples = tuple[ArrayLike, ArrayLike | None] | TorchDataset[Any] | DataLoader[Any]
"""Inputs (N, ...) and labels (N,); or a data set or loader of (input, label); or tokens (N, length) and None.

Tensors, NumPy arrays, or tables and columns of pandas.
"""


def dataset_in_memory(examples: Examples | Mapping[str, Examples], task: str | None = None) -> Dataset:
    """A data set of examples in memory: one for all purposes, or by role, `{"train": ..., "test": ...}`.

    With a single one, or without "test", models are measured on what they are trained on. "validation", or "val", may
    be left out.
    Floats are taken as they are, uint8 images are divided by 255; nothing else is normalised and nothing augmented.
    Inputs (N, ...), such as images (N, C, H, W) or signals (N, C, length), kept as uint8 or float32, of a table as
    float32; labels (N,), integers from 0, in any form that `class_numbers` takes. Integers (N, length) are tokens, -1
    behind the end of a text; without labels, (tokens, None), the next ones are predicted, as they are for
    (text[:, :-1], text[:, 1:]), below 0 where none is; with
    `task="masked-token"` labels (N, length) are the tokens to be named, below 0 where none is. Floats with fractions,
    (N,) or (N, columns), are numbers to be predicted, and 0 and 1 in (N, labels) that are not one-hot are labels, any
    number of which an example has; `task` says otherwise. There are as many classes as the largest label says; a
    network may have more outputs.
    Data sets and loaders are read once and kept in memory, all examples in the order of the data set: a loader's batch
    size, shuffling and `drop_last` do not count.

    Raises StarcliError with all that is wrong, for tables whose columns are not those of "train" in the same order, and
    for loaders whose sampler leaves examples out or repeats some.

    >>> inputs, labels = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    >>> found = dataset_in_memory({"train": (inputs, labels), "test": (inputs[:3], labels[:3])})
    >>> found.num_classes, found.input_shape, len(found.test)
    (3, (4,), 3)
    """
    given = dict(examples) if isinstance(examples, Mapping) else {"train": examples}
    tensors, task = examples_by_role(given, task)
    first = tensors["train"][0]
    vocab_size = None
    if first.dtype == torch.int64:
        vocab_size = largest_token(tensors.values(), task) + 1
    classes = _outputs(tensors, task, vocab_size)
    plain = Normalisation(BYTES if first.dtype == torch.uint8 else 1.0, *AS_THEY_ARE)
    splits = {role: MemorySplit(inputs, labels, plain) for role, (inputs, labels) in tensors.items()}
    return Dataset(
        name=IN_MEMORY,
        num_classes=classes,
        input_shape=tuple(first.shape[1:]),
        mean=plain.mean,
        std=plain.std,
        fingerprint=_fingerprint(tensors),
        augmentation=(),
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test", splits["train"]),
        val_fraction=0.0,
        split_seed=0,
        limit=None,
        notes=(*notes_of_draws(given, f"data {IN_MEMORY}"), *_notes(*tensors["train"], classes, task)),
        class_names=targets_of(given, task),
        features=features_of(given),
        vocab_size=vocab_size,
        task=task,
    )


def examples_by_role(given: Mapping[str, Any], task: str | None) -> tuple[dict[str, tuple[Tensor, Tensor]], str]:
    """Inputs and labels of each part, checked, and their task. Raises StarcliError as `dataset_in_memory`."""
    by_role = {role: found for role, found in given.items() if found is not None or role == "train"}
    if "val" in by_role and "validation" not in by_role:
        by_role["validation"] = by_role.pop("val")
    if unknown := sorted(set(by_role) - set(SPLITS), key=str):
        raise StarcliError(f"data in memory: unknown {', '.join(map(str, unknown))}", [f"expected {', '.join(SPLITS)}"])
    if "train" not in by_role:
        hint = 'to measure on these alone, give them without the word: data=examples, not data={"test": examples}'
        raise StarcliError('data in memory: "train" is missing, from which BatchNorm statistics are estimated', [hint])
    refuse_unlike_tables(by_role)
    found = {role: _tensors(each, role) for role, each in by_role.items()}
    if task is None and len({labels is None for _, labels in found.values()}) > 1:
        raise StarcliError("data in memory: some parts have labels, others have none")
    task = task or _task(*found["train"])
    tensors = {role: _checked(*each, role, task) for role, each in found.items()}
    first = tensors["train"][0]
    problems = [
        f"{role}: {inputs.dtype} of shape {tuple(inputs.shape[1:])}, train {first.dtype} of {tuple(first.shape[1:])}"
        for role, (inputs, _) in tensors.items()
        if inputs.shape[1:] != first.shape[1:] or inputs.dtype != first.dtype
    ]
    if problems:
        raise StarcliError("data in memory: inputs differ", problems)
    return tensors, task


def largest_token(parts: Iterable[tuple[Tensor, Tensor]], task: str) -> int:
    """The largest token of inputs, and of labels where these are tokens."""
    return max(int(each.max()) for part in parts for each in (part if task in OF_TOKENS else part[:1]))


def _task(inputs: Tensor, labels: Tensor | None) -> str:
    """What examples are for, by their labels; where there are none, or the tokens moved by one, what follows each."""
    if labels is None:
        return NEXT_TOKEN
    found = labels.detach().cpu().numpy()
    return NEXT_TOKEN if are_next_tokens(inputs.detach().cpu().numpy(), found) else task_of_targets(found)


def _outputs(tensors: Mapping[str, tuple[Tensor, Tensor]], task: str, vocab_size: int | None) -> int:
    """How many classes, columns or tokens there are to be predicted."""
    if task in OF_TOKENS:
        return vocab_size or 0
    if task == CLASSES:
        return 1 + max(int(labels.max()) for _, labels in tensors.values())
    return check_targets(
        [(f"data in memory, {role}", labels.numpy(), len(inputs)) for role, (inputs, labels) in tensors.items()]
    )


def _notes(inputs: Tensor, labels: Tensor, classes: int, task: str) -> tuple[str, ...]:
    """What is odd about training examples: classes without any, channels where torch does not have them."""
    if task != CLASSES:
        return ()
    notes = [empty_classes(labels.numpy(), classes)]
    if inputs.dim() == 4 and channels_are_last(inputs.shape):
        way = "permute(0, 3, 1, 2) if the last axis holds the channels"
        notes.append(f"inputs of {tuple(inputs.shape)} are taken as they are, as (N, C, H, W): {way}")
    return tuple(f"data {IN_MEMORY}: {note}" for note in notes if note)


def _tensors(examples: Examples, role: str) -> tuple[Tensor, Tensor | None]:
    """Inputs and labels of all examples, in order; no labels where next tokens are to be predicted."""
    what = f"data in memory, {role}"
    if isinstance(examples, tuple) or (isinstance(examples, list) and is_array(next(iter(examples), None))):
        kinds = [is_array(each) for each in examples]
        no_labels = kinds == [True, False] and examples[1] is None
        if not isinstance(examples, tuple) or (kinds != [True, True] and not no_labels):
            found = f"{type_in_words(examples)} of {', '.join(type(each).__name__ for each in examples[:5])}"
            raise StarcliError(f"{what}: expected a pair of tensors or arrays, (inputs, labels), found {found}")
        return as_inputs(examples[0], what), None if no_labels else as_tensor(examples[1], f"{what}, labels")
    indexed = hasattr(examples, "__getitem__") and not is_array(examples)
    if not indexed and not isinstance(examples, DataLoader | IterableDataset):
        hint = ["of tokens whose next ones are predicted, (tokens, None)"]
        expected = "expected (inputs, labels), a torch data set or a loader"
        raise StarcliError(f"{what}: {expected}, found {type_in_words(examples)}", hint if is_array(examples) else [])
    try:
        with generator_borrowed():  # a loader draws a seed for its workers, whether it has any or not
            batches = [_batch(batch) for batch in _in_order(examples, what)]
        if not batches:
            raise StarcliError(f"{what}: there are no examples")
        inputs, labels = (readable_by_numpy(torch.cat(parts)) for parts in zip(*batches, strict=True))
        return inputs, labels
    except StarcliError:
        raise
    except Exception as error:  # a data set of the caller's own may raise anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise StarcliError(
            f"{what}: its examples cannot be read as pairs of input and label of one shape", [reason]
        ) from error


def _in_order(examples: Any, what: str) -> DataLoader[Any]:
    """A loader that reads each example once, in the order of the data set, in batches as the caller's loader."""
    if not isinstance(examples, DataLoader):
        return DataLoader(examples, batch_size=256)
    if isinstance(examples.dataset, IterableDataset):  # without `drop_last`, and without workers, who each read all
        return DataLoader(examples.dataset, batch_size=examples.batch_size, collate_fn=examples.collate_fn)
    batches = examples.batch_sampler
    sampler = examples.sampler if batches is None else getattr(batches, "sampler", batches)
    count = len(examples.dataset)  # type: ignore[arg-type]
    some = getattr(sampler, "replacement", False) or getattr(sampler, "num_samples", count) != count
    if some or type(sampler) not in (SequentialSampler, RandomSampler):
        raise StarcliError(
            f"{what}: its loader draws examples by {type_in_words(sampler)}, but all of a data set are read, once",
            ["give torch.utils.data.Subset(dataset, indices) for some of them"],
        )
    # shuffling would draw another order each time; workers would outlive the call
    size = getattr(batches, "batch_size", None)
    return DataLoader(examples.dataset, batch_size=size, collate_fn=examples.collate_fn)


def _batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Inputs and labels of a batch, or of one example, as tensors of a batch."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        size = f" of {len(batch)}" if hasattr(batch, "__len__") else ""
        raise TypeError(f"{type_in_words(batch)}{size}, expected a pair of input and label")
    inputs, labels = batch[0], torch.as_tensor(batch[1])
    if not isinstance(inputs, Tensor):
        raise TypeError(f"an input is {type_in_words(inputs)}, expected a tensor")
    return (inputs, labels) if labels.dim() else (inputs[None], labels[None])


def _checked(inputs: Tensor, labels: Tensor | None, role: str, task: str) -> tuple[Tensor, Tensor]:
    """Contiguous inputs on the CPU, uint8, float32 or int64, and labels of the task; StarcliError for all else."""
    inputs, what = inputs.detach().cpu(), f"data in memory, {role}"
    problems = []
    is_tokens = inputs.dim() == 2 and inputs.dtype in (torch.int16, torch.int32, torch.int64)
    if is_tokens:
        inputs = _tokens(inputs, what)
    if task == NEXT_TOKEN or labels is None:
        return inputs, _next(inputs, labels, is_tokens, task, what)
    labels = labels.detach().cpu()
    if task == MASKED_TOKEN:
        return inputs, _masked(inputs, labels, is_tokens, what)
    if inputs.dim() < 2 or not inputs.numel():
        problems.append(f"inputs of shape {tuple(inputs.shape)}, expected (N, D), (N, C, H, W) or other (N, ...)")
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point() and not is_tokens:
        problems.append(f"inputs of {inputs.dtype}, expected floats or uint8, or tokens (N, length)")
    elif not bool(inputs.isfinite().all()):
        problems.append("inputs that are NaN or infinite")
    try:
        array = (labels.double() if labels.is_floating_point() else labels).numpy()
        numbers = torch.from_numpy(read_targets(array, task, "labels"))
    except StarcliError as error:
        problems.append(error.summary)
        if is_tokens and labels.shape == inputs.shape:
            problems.append(f"a label for each token: say the task, {NEXT_TOKEN} or {MASKED_TOKEN}")
    else:
        if len(numbers) != len(inputs):
            problems.append(f"{number_of(len(numbers), 'label')} for {number_of(len(inputs), 'input')}")
        elif task == CLASSES and len(numbers) and int(numbers.min()) < 0:
            problems.append(f"label {int(numbers.min())}, expected 0 or more")
    if problems:
        raise StarcliError(f"{what}: cannot be used", problems)
    kind = inputs.dtype if inputs.dtype in (torch.uint8, torch.int64) else torch.float32
    return inputs.to(kind).contiguous(), numbers


def _tokens(inputs: Tensor, what: str) -> Tensor:
    """Integers as rows of tokens, padded by -1."""
    try:
        return torch.from_numpy(token_rows(inputs.numpy(), None, what))
    except StarcliError as error:
        hint = "integers are taken for tokens; inputs.float() makes numbers of them"
        raise StarcliError(error.summary, [*error.problems, hint]) from error


def _next(inputs: Tensor, labels: Tensor | None, are_tokens: bool, task: str, what: str) -> Tensor:
    """The next tokens of texts, or those that are given as labels; StarcliError where the inputs are no tokens."""
    if not are_tokens:
        raise StarcliError(f"{what}: no labels, and {inputs.dtype} {tuple(inputs.shape)} are no tokens (N, length)")
    if task != NEXT_TOKEN:
        raise StarcliError(f"{what}: no labels, which task={task!r} needs")
    if labels is None or labels.dim() < 2:  # classes do not matter here
        return torch.from_numpy(next_tokens(inputs.numpy(), what))
    return torch.from_numpy(given_next_tokens(inputs.numpy(), labels.detach().cpu().numpy(), what))


def _masked(inputs: Tensor, labels: Tensor, are_tokens: bool, what: str) -> Tensor:
    """Labels (N, length) of tokens that are masked, -1 where none is."""
    if not are_tokens or labels.shape != inputs.shape or labels.is_floating_point():
        found = f"{labels.dtype} {tuple(labels.shape)} for {inputs.dtype} {tuple(inputs.shape)}"
        raise StarcliError(f"{what}: task={MASKED_TOKEN!r} needs tokens (N, length) and as many labels, found {found}")
    if bool((labels < 0).all(1).any()):
        raise StarcliError(f"{what}: in some texts no token is to be named (labels of at least 0)")
    return labels.long().clamp(min=-1)


def _fingerprint(tensors: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    """SHA-256 over role, type, shape and bytes of all examples."""
    digest = hashlib.sha256()
    for role in SPLITS:
        for tensor in tensors.get(role, ()):
            digest.update(f"{IN_MEMORY} {role} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
