"""Inputs of `predict`: a split of labelled data, or inputs without labels, read as the models' own were."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import DataRecord
from starcli.data.dataset import Dataset
from starcli.data.names import IMAGES_OF_ANY_SIZE, IN_MEMORY, parse_name
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.normalise_option import AS_THEY_ARE, MeanStd, parse_normalise
from starcli.data.repeats import repeats_notes
from starcli.data.splits import MemorySplit, Split
from starcli.data.text_options import TextOptions
from starcli.data.tokens import next_tokens, token_rows
from starcli.data.unlabelled import (
    checked_tokens,
    is_unlabelled,
    open_unlabelled,
    open_unlabelled_rows,
    open_unlabelled_tokens,
    unlabelled_split,
)
from starcli.errors import StarcliError, number_of
from starcli.huggingface.directory import PREFIX, directory_of
from starcli.models.build import check_forward, runnable
from starcli.models.inputs import InputNeeded, extreme_tokens
from starcli.models.names import is_huggingface
from starcli.registry.tasks import MASKED_TOKEN, NEXT_TOKEN, OF_TOKENS
from starcli.workspace.choices import Choices
from starcli.workspace.data import as_recorded, normalise_of_model
from starcli.workspace.directories import directories_of, notes_without_tokenizer, refuse_other_directories
from starcli.workspace.directory_notes import note_of_channels
from starcli.workspace.first_run import refuse_texts_without_end
from starcli.workspace.workspace import Workspace, workspace_of


@dataclass(frozen=True)
class Inputs:
    """Examples in order, their labels and files where they are known, the names of classes, what should be said.

    following: of tokens, whether each place predicts the one that follows it.
    """

    split: Split
    label: Tensor | None = None
    file: tuple[str, ...] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    following: bool = True

    @property
    def index(self) -> Tensor:
        """Place (N,) of the example of each prediction."""
        labels = self.split.labels
        return self.split.index[(labels >= 0).nonzero()[:, 0]] if self.split.per_token else self.split.index

    @property
    def position(self) -> Tensor | None:
        """Where tokens are predicted, the place (N,) of each of these in its text, from 0."""
        places = (self.split.labels >= 0).nonzero()
        return places[:, 1] + int(self.following) if self.split.per_token else None


def open_inputs(
    checkpoints: Sequence[Checkpoint], choices: Choices, split: str | None
) -> tuple[Workspace, list[Checkpoint], Inputs]:
    """The workspace and models as of `workspace_of`, and a split of the data (test), or all of data without labels.

    `--train-data` says where the data of the models themselves lie, whose training split BatchNorm statistics are
    estimated from.
    """
    train_data = choices.train_data
    if choices.data is None or not to_be_labelled(checkpoints[0], choices.data, choices.texts):
        workspace, models = workspace_of(checkpoints, choices)
        return workspace, models, labelled_inputs(workspace.dataset, split)
    if split is not None:
        raise StarcliError(f"{choices.data}: has no labels, and no splits: leave out --split")
    if choices.image_size is not None:
        raise StarcliError(f"{choices.data}: has no labels, and is sized as the models take it: leave out --image-size")
    own = replace(choices, data=train_data, train_data=None, normalise=None)
    if train_data is None:
        own = replace(own, text_column=None, label_column=None, tokenizer=None, length=None, task=None)
    try:
        workspace, models = workspace_of(checkpoints, own, data=train_data is not None)
    except InputNeeded:
        hint = "the model does not say what its inputs are; the data of its training do, or --data with labels"
        raise StarcliError(f"--train-data is needed: what goes into {choices.arch_name}", [hint]) from None
    return workspace, models, unlabelled_inputs(workspace, models, choices.data, choices.normalise, choices.texts)


def to_be_labelled(model: Checkpoint, name: str, texts: TextOptions) -> bool:
    """Whether the data `name` have no labels; where tokens are predicted, texts are their own."""
    record, directory = model.metadata.data, None if model.path is None else directory_of(model.path)
    said = record.task_name if record is not None else directory and directory.task
    if record is not None:
        texts = replace(texts, features=tuple(record.features) or None)
    return (texts.task or said) not in OF_TOKENS and is_unlabelled(name, texts)


def _length(workspace: Workspace) -> int | None:
    """How many tokens the model reads; None for a class of `transformers`, which takes any number."""
    architecture = workspace.architecture
    if is_huggingface(architecture.name):
        return None
    return (architecture if workspace.data is None else workspace.data).input_shape[0]


def _vocabulary(workspace: Workspace) -> int | None:
    """How many tokens the model knows, as far as that is recorded."""
    trained = workspace.data.vocab_size if workspace.data is not None else None
    known: int | None = workspace.architecture.arguments.get("vocab_size", trained)
    return known


def _admitted(workspace: Workspace, tokens: MemorySplit) -> MemorySplit:
    """Tokens that the network takes, padding among them. StarcliError where it does not, before work begins."""
    raw, name = tokens.raw, workspace.architecture.name
    extreme = extreme_tokens(raw.shape[1:], int(raw.max()) + 1, padded=bool((raw < 0).any()))
    network = runnable(workspace.outline())
    check_forward(name, network, extreme)
    refuse_texts_without_end(network, workspace.architecture, raw, "the texts")
    return tokens


def labelled_inputs(dataset: Dataset, split: str | None) -> Inputs:
    """A split of a data set, test unless said; a note where that is a part of an array of which nobody said so."""
    chosen = dataset.split(split or "test")
    part = split is None and bool((chosen.index != torch.arange(len(chosen))).any())
    others = "--split train has the others" if dataset.per_token else "without labels all are taken"
    name = dataset.test_name if split is None else dataset.name
    if name in ("text", "table") and not dataset.per_token:
        others += ", and of a test.csv alone in a folder"
    note = f"{name}: only the {number_of(len(chosen), 'example')} held out for testing; {others}"
    notes = (*([note] if part else []), *_held_back(dataset, split), *repeats_notes(dataset, split or "test"))
    following = dataset.task == NEXT_TOKEN
    return Inputs(chosen, chosen.targets.cpu(), chosen.names, dataset.class_names, notes, following)


def _held_back(dataset: Dataset, split: str | None) -> list[str]:
    """Notes where not all of the training data are predicted, as a model may record it and nobody said."""
    if split != "train":
        return []
    notes = [] if dataset.limit is None else [f"{dataset.name}: training examples within --limit {dataset.limit} alone"]
    if dataset.validation is not None and dataset.val_fraction:
        here, there = len(dataset.train), len(dataset.validation)
        ways = "--split validation has these, --val-fraction 0 all"
        notes.append(
            f"{dataset.name}: {there} of {here + there} training examples are held back for validation; {ways}"
        )
    return notes


def unlabelled_inputs(
    workspace: Workspace, models: Sequence[Checkpoint], name: str, normalise: str | None, texts: TextOptions
) -> Inputs:
    """Inputs without labels by the name of the data, normalised as asked for, else as the models record.

    A directory of Hugging Face says of a model without a record how texts become tokens and images are normalised.
    StarcliError where directories of the models say that differently.
    """
    choices = replace(workspace.choices, data=name, normalise=normalise, tokenizer=texts.tokenizer)
    directory = workspace.directory
    if directory is not None and directory not in directories_of(models):  # --arch named it, which was settled since
        choices = replace(choices, arch=f"{PREFIX}{directory.path}")
    refuse_other_directories(choices, models)
    inputs = _without_labels(workspace, name, normalise, texts)
    return replace(inputs, notes=(*inputs.notes, *notes_without_tokenizer(choices, models)))


def _without_labels(workspace: Workspace, name: str, normalise: str | None, texts: TextOptions) -> Inputs:
    shape, directory = tuple(workspace.architecture.input_shape), workspace.directory
    normalise = normalise_of_model(normalise, workspace.data)
    kind = parse_name(name)[0]
    if workspace.architecture.input_dtype == "int64":
        if normalise is not None:
            raise StarcliError("--normalise is for images and vectors, and the model takes tokens")
        if directory is not None and kind == "text":
            texts = replace(texts, tokenizer=texts.tokenizer or directory.tokenizer)
        texts = as_recorded(texts, workspace.data, kind)
        tokens, cuts = open_unlabelled_tokens(name, _length(workspace), _vocabulary(workspace), texts)
        return Inputs(_admitted(workspace, tokens), class_names=_class_names(workspace), notes=tuple(cuts))
    if kind == "table":
        if len(shape) != 1:
            taken = "x".join(map(str, shape))
            raise StarcliError(f"{name}: a table of numbers, and the model takes images of {taken}")
        texts = as_recorded(texts, workspace.data, kind)
        rows = open_unlabelled_rows(name, shape[0], _statistics(workspace, normalise), texts)
        return Inputs(rows, class_names=_class_names(workspace))
    if kind == "text":
        raise StarcliError(f"{name}: texts, and the model takes numbers", ["a table of numbers is table:FILE"])
    texts.refuse_useless("images without labels")
    if directory is not None and workspace.data is None:
        if kind in IMAGES_OF_ANY_SIZE and directory.image_side is not None:
            shape = (shape[0], directory.image_side, directory.image_side)
        normalise = normalise or directory.image_settings.normalise
    spans = {"bytes": BYTES, "floats": 1.0} if normalise else _spans(workspace.data)
    split = open_unlabelled(name, shape, _statistics(workspace, normalise), spans)
    notes = () if normalise else (f"{name}: no labels; normalised as the models' own data were",)
    notes = (*notes, *note_of_channels(directory if workspace.data is None else None))
    return Inputs(split, file=split.names, class_names=_class_names(workspace), notes=notes)


def _spans(record: DataRecord | None) -> dict[str, float]:
    """What inputs of a type are divided by, as the models' own were; of a type that says nothing of these, nothing."""
    if record is None:
        return {}
    if record.span is not None:
        return {"floats": record.span}
    same = {"digits": 16.0, "gaussians": 1.0}.get(record.name)
    return {"bytes": BYTES} if same is None else {"bytes": same, "floats": same}


def tensor_inputs(workspace: Workspace, inputs: Tensor, normalise: str | None) -> Inputs:
    """Inputs (N, ...) in memory: as they are (bytes divided by 255), or normalised as asked for."""
    shape = tuple(workspace.architecture.input_shape)
    if workspace.architecture.input_dtype == "int64":
        return _token_inputs(workspace, inputs)
    if inputs.shape[1:] != shape or not len(inputs):
        taken = ", ".join(map(str, ("N", *shape)))
        raise StarcliError(f"data in memory: inputs of shape {tuple(inputs.shape)}, the model takes ({taken})")
    if inputs.dtype != torch.uint8 and not (inputs.is_floating_point() and bool(inputs.isfinite().all())):
        raise StarcliError(f"data in memory: inputs of {inputs.dtype}, expected finite floats or uint8")
    mean, std = AS_THEY_ARE if normalise is None else _statistics(workspace, normalise)
    kept = inputs if inputs.dtype == torch.uint8 else inputs.to(torch.float32)
    span = BYTES if kept.dtype == torch.uint8 else 1.0
    split = unlabelled_split(kept.detach().cpu().contiguous(), Normalisation(span, mean, std))
    own = workspace.data is not None and workspace.data.name != IN_MEMORY
    notes = ("the inputs in memory are taken as they are, and not normalised as the models record",)
    return Inputs(split, class_names=_class_names(workspace), notes=notes if own and normalise is None else ())


def _token_inputs(workspace: Workspace, inputs: Tensor) -> Inputs:
    """Tokens (N, length) in memory, for their class or what follows each."""
    rows = token_rows(inputs.detach().cpu().numpy(), None, "data in memory")
    checked = checked_tokens(rows, _length(workspace), _vocabulary(workspace), "data in memory")
    split = _admitted(workspace, unlabelled_split(checked, AS_TOKENS_ARE))
    if workspace.task_name == MASKED_TOKEN:
        raise StarcliError("data in memory: say which tokens are masked: (tokens, labels), -1 where none is")
    if workspace.task_name != NEXT_TOKEN:
        return Inputs(split, class_names=_class_names(workspace))
    following = MemorySplit(split.raw, torch.from_numpy(next_tokens(rows, "data in memory")), AS_TOKENS_ARE)
    return Inputs(following, following.targets)


AS_TOKENS_ARE = Normalisation(1.0, *AS_THEY_ARE)
"""Tokens are not normalised."""


def _class_names(workspace: Workspace) -> tuple[str, ...]:
    """Names of classes that the models record, or their directory says."""
    if workspace.data is not None:
        return tuple(workspace.data.class_names)
    return workspace.directory.class_names if workspace.directory is not None else ()


def _statistics(workspace: Workspace, normalise: str | None) -> MeanStd:
    """Mean and standard deviation of inputs: those asked for, else those that the models record."""
    if normalise is not None:
        given = parse_normalise(normalise)
        if given is None:
            raise StarcliError("--normalise data: data without labels have no training split to be measured")
        channels = workspace.architecture.input_shape[0]
        if len(given[0]) not in (1, channels):
            raise StarcliError(f"--normalise {normalise}: {len(given[0])} channels, the model takes {channels}")
        return given
    record = workspace.data
    if record is None or not record.mean:
        hint = "--normalise says so: none, imagenet or MEAN:STD"
        raise StarcliError("the model does not say how its inputs are normalised", [hint])
    return tuple(record.mean), tuple(record.std)
