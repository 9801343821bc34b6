"""The data of a command: as the command line names them, as checkpoints record them, and what follows where both do."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from starcli.checkpoints.metadata import Architecture, DataRecord
from starcli.data.dataset import Dataset, open_data
from starcli.data.names import IMAGES_OF_ANY_SIZE, IN_MEMORY, JOINED, data_in_words, needs_path, parse_name
from starcli.data.normalisation import BYTES, is_grey
from starcli.data.normalise_option import AS_THEY_ARE, normalise_words, same_statistics
from starcli.data.table_columns import refuse_other_columns
from starcli.data.text_options import OF_TEXTS, OPTIONS_OF_KINDS, TextOptions
from starcli.data.tokenizers import refuse_other_tokenizer
from starcli.errors import StarcliError, few, option_of
from starcli.models.names import is_external
from starcli.registry.tasks import CLASSES, NEXT_TOKEN, OF_COLUMNS
from starcli.workspace.data_notes import scaling_notes, standardised_note

if TYPE_CHECKING:
    from starcli.workspace.choices import Choices


OF_EITHER = ("arrays", "hf", "wds", "build", JOINED)
"""Kinds of data whose inputs may be bytes or floats, so that records say which."""


def record_of(dataset: Dataset) -> DataRecord:
    """The record of a data set in a checkpoint: everything that identifies it, no path."""
    return DataRecord(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        num_classes=dataset.num_classes,
        input_shape=list(dataset.input_shape),
        mean=list(dataset.mean),
        std=list(dataset.std),
        val_fraction=dataset.val_fraction,
        split_seed=dataset.split_seed,
        limit=dataset.limit,
        class_names=list(dataset.class_names),
        features=list(dataset.features),
        span=dataset.span if dataset.name in OF_EITHER and dataset.span == 1.0 and not dataset.vocab_size else None,
        vocab_size=dataset.vocab_size,
        next_token=dataset.task == NEXT_TOKEN,
        task=cast(Any, None if dataset.task in (CLASSES, NEXT_TOKEN) else dataset.task),
        tokenizer=dataset.tokenizer,
    )


def open_named(choices: "Choices", record: DataRecord | None, model: str = "the checkpoint") -> Dataset:
    """The data that the command line names, or those that `model` records; what it leaves open is as recorded."""
    name = choices.data or (record.name if record else None)
    if name is None:
        bare = [] if choices.arch else ["bare weights need --arch too; starcli convert says both once and for all"]
        raise StarcliError(f"--data is needed: {model} does not say what it was trained on", bare)
    if choices.data is None and needs_path(name):
        raise StarcliError(f"--data is needed: {data_in_words(name)}, and no file keeps a path")

    def chosen(given: Any, recorded: Any) -> Any:
        return recorded if given is None and record is not None else given

    # images of a folder are scaled as they were for the checkpoint
    kind = parse_name(name)[0]
    scaled = record is not None and kind in IMAGES_OF_ANY_SIZE and record.name in (kind, JOINED)
    recorded_size = record.input_shape[-1] if record is not None and scaled and len(record.input_shape) == 3 else None
    if recorded_size is not None and choices.image_size not in (None, recorded_size):
        raise StarcliError(f"--image-size {choices.image_size}: {recorded_size} in the checkpoint")
    val_fraction = chosen(choices.val_fraction, record and record.val_fraction)
    if choices.split_seed is not None and choices.val_fraction is None and not val_fraction:
        hint = "--val-fraction says what share of the training data is held back as a validation split"
        raise StarcliError(f"--split-seed {choices.split_seed}: of {name} no part is drawn by it", [hint])
    dataset = open_data(
        name,
        data_dir=choices.data_dir,
        download=choices.download,
        limit=chosen(choices.limit, record and record.limit),
        val_fraction=val_fraction or 0.0,
        split_seed=chosen(choices.split_seed, record and record.split_seed) or 0,
        image_size=choices.image_size if recorded_size is None else recorded_size,
        normalise=choices.normalise,
        texts=as_recorded(choices.texts, record, kind),
    )
    said = {"--limit": choices.limit, "--val-fraction": choices.val_fraction}
    if dataset.train is dataset.test and (idle := [option for option, value in said.items() if value]):
        summary = f"{idle[0]}: {name} has a test part alone, of which nothing is left out or held back"
        raise StarcliError(summary, ["it is measured as a whole; data to be trained on have a training part"])
    return dataset


def as_recorded(texts: TextOptions, record: DataRecord | None, kind: str) -> TextOptions:
    """How texts are read: as was said, for the rest by the length, the task and the classes that are recorded.

    Classes without names are called by their numbers. Raises StarcliError for another task than is recorded, and for
    another tokenizer than that of the record's own texts.
    """
    task = None if record is None else record.task_name
    if record is not None and texts.task not in (None, task):
        raise StarcliError(f"--task {texts.task}: the model was trained on {task}")
    numbers = tuple(map(str, range(record.num_classes))) if record is not None and task == CLASSES else None
    if record is not None and kind == "folder":
        return replace(texts, classes=tuple(record.class_names) or (None if record.name == kind else numbers))
    if record is None or kind not in OPTIONS_OF_KINDS:
        return texts
    if kind == "table":
        texts = replace(texts, task=task, features=tuple(record.features) or None)
        named = tuple(record.class_names) if record.task is None else ()
        return replace(texts, classes=named) if named else replace(texts, unnamed=numbers)
    if kind not in OF_TEXTS or record.vocab_size is None:
        return replace(texts, task=task, unnamed=numbers if kind in ("arrays", "hf", "wds") else None)
    [length] = record.input_shape
    if record.name in OF_TEXTS or record.tokenizer is not None:
        refuse_other_tokenizer(texts.tokenizer, record.tokenizer)
    classes = None if record.per_token else tuple(record.class_names or map(str, range(record.num_classes)))
    return replace(texts, task=task, length=texts.length or length, classes=classes)


def refuse_unknown_tokens(dataset: Dataset, architecture: Architecture | None) -> None:
    """Raise StarcliError for tokens, and a length of texts, that a trained network is not for, by its arguments.

    Of networks from outside the registry it is not known what an argument `length` means.
    """
    known = architecture.arguments.get("vocab_size") if architecture is not None else None
    for each in (dataset, dataset.tested):
        if known is not None and each is not None and each.vocab_size is not None and each.vocab_size > known:
            raise StarcliError(f"data {each.name}: token {each.vocab_size - 1}, the model knows 0 to {known - 1}")
    if architecture is None or is_external(architecture.name) or dataset.name not in OF_TEXTS:
        return
    length = architecture.arguments.get("length")
    if length is not None and dataset.input_shape != (length,):
        here = dataset.input_shape[0]
        raise StarcliError(
            f"--length {here}: {length} in the checkpoint, and {architecture.name} reads no other number"
        )


def open_agreed(choices: "Choices", record: DataRecord | None, model: str) -> tuple[Dataset, tuple[str, ...]]:
    """`open_named`, compared with what `model` records, and notes for those who read what is measured.

    What measures may do so on other data, which are then normalised as the model's own were; anything else must not:
    what it writes would be of both.
    """
    dataset = open_named(choices, record, model)
    if record is None:
        return dataset, scaling_notes(dataset) or standardised_note(dataset, choices)
    refuse_other_columns(f"data {dataset.name}", dataset.features, record.features, model)
    if dataset.fingerprint == record.fingerprint:
        return as_trained(dataset, choices, record, model)
    trained = "all the data" if record.name == JOINED else "the data"
    what = f"{choices.data or dataset.name}: not {trained} that {model} was trained on{_lengths(dataset, record)}"
    if choices.data is None or not choices.measures:
        problems = [f"fingerprint {dataset.fingerprint[:12]} here, {record.fingerprint[:12]} in the checkpoint"]
        if choices.data is not None:
            problems.append("eval, predict, barrier and bma measure on other data")
        raise StarcliError(what, problems)
    if dataset.class_names and record.class_names and list(dataset.class_names) != record.class_names:
        raise StarcliError(
            f"{dataset.name}: its classes are not those that {model} was trained on",
            [f"{few(dataset.class_names, 5)} here, {few(record.class_names, 5)} there"],
        )
    order = _order_of_classes(dataset, record, model)
    if record.vocab_size is not None and dataset.vocab_size is None:
        raise StarcliError(f"{choices.data}: there are no tokens in it, and {model} takes tokens")
    own = normalise_of_model(choices.normalise, record)
    if own is not None or dataset.vocab_size is not None:
        same = dataset.vocab_size is not None or same_statistics((dataset.mean, dataset.std), (record.mean, record.std))
        return dataset, (what if same else f"{what}, and normalised otherwise than those were", *order)
    if not record.mean:
        return dataset, (f"{what}, which were normalised each in its own way: these are as new ones are", *order)
    repeated = is_grey(dataset.input_shape) and len(record.mean) == 3
    if len(record.mean) not in (1, dataset.input_shape[0]) and not repeated:
        return dataset, (f"{what}, and not normalised as those were", *order)
    of_floats = record.span is not None or record.name == "table" or record.name.startswith("gaussians")
    if of_floats != (dataset.span == 1.0) and record.name != IN_MEMORY:
        if choices.normalise is not None:
            return dataset, (f"{what}, and normalised by their own mean and standard deviation", *order)
        kind = "bytes" if of_floats else "floats"
        raise StarcliError(f"{what}: --normalise says how its {kind} are to be normalised")
    how = f"{what}, but normalised as those were{', grey images as RGB' if repeated else ''}"
    return dataset.normalised(record.mean, record.std), (how, *order)


def normalise_of_model(said: str | None, record: DataRecord | None) -> str | None:
    """The normalisation asked for of other data than a model's own; None where they are to have that of its own.

    `data` means those that the model was trained on, where they were standardised.
    """
    if said == "data" and record is not None and not same_statistics((record.mean, record.std), AS_THEY_ARE):
        return None
    return said


def _order_of_classes(dataset: Dataset, record: DataRecord, model: str) -> tuple[str, ...]:
    """A note where names of classes belong to outputs of a model by their order alone, as it records none."""
    names = dataset.class_names
    if dataset.task != CLASSES or record.class_names or names == tuple(map(str, range(len(names)))):
        return ()
    order = few([f"{label} {name}" for label, name in enumerate(names)], 10)
    return (f"{dataset.name}: {model} records no names of classes; taken in this order: {order}",)


def _lengths(dataset: Dataset, record: DataRecord) -> str:
    """Of tokens, how long texts are here and were when a model was trained, where that is not the same."""
    here, there = dataset.input_shape, record.input_shape
    if dataset.vocab_size is None or record.vocab_size is None or [*here] == there:
        return ""
    return f": texts of {here[0]} tokens here, {there[0]} there"


def agreed_data(
    choices: "Choices", given: Dataset | None, record: DataRecord | None, model: str
) -> tuple[Dataset, tuple[str, ...]]:
    """The data of models, and notes: those `given` in memory, else as of `open_agreed`."""
    return open_agreed(choices, record, model) if given is None else agreed_in_memory(given, choices, record, model)


def as_trained(dataset: Dataset, choices: "Choices", record: DataRecord, model: str) -> tuple[Dataset, tuple[str, ...]]:
    """The data that `model` records, normalised as it was trained with, and notes.

    What measures may do so with another normalisation that is asked for, anything else must not.
    """
    # floats of a file without a span are from before these were taken as they are
    span = record.span or (BYTES if record.name == "arrays" else dataset.span)
    same = span == dataset.span and same_statistics((dataset.mean, dataset.std), (record.mean, record.std))
    if same and (record.mean, record.std) == (list(dataset.mean), list(dataset.std)):
        return dataset, ()
    if same or choices.normalise is None:
        return dataset.normalised(record.mean, record.std, span), ()
    what = f"{dataset.name}: normalised otherwise than when {model} was trained"
    if choices.measures:
        return dataset, (what,)
    here, there = (normalise_words(one.mean, one.std) for one in (dataset, record))
    raise StarcliError(what, [f"MEAN:STD is {here} here, {there} in the checkpoint"])


def agreed_in_memory(
    dataset: Dataset, choices: "Choices", record: DataRecord | None, model: str
) -> tuple[Dataset, tuple[str, ...]]:
    """Data in memory beside those that `model` records: normalised as these if they are the same, else as given."""
    if record is None:
        return dataset, ()
    refuse_other_columns(f"data {dataset.name}", dataset.features, record.features, model)
    if record.task in OF_COLUMNS:
        refuse_other_columns(f"data {dataset.name}, labels", dataset.class_names, record.class_names, model)
    if dataset.fingerprint == record.fingerprint:
        return as_trained(dataset, choices, record, model)
    how = ", and taken as they are" if choices.normalise is None else ""
    return dataset, (f"the data {dataset.name} are not those that {model} was trained on ({record.name}){how}",)


def refuse_leaks(dataset: Dataset, record: DataRecord | None, model: str) -> None:
    """Raise StarcliError where the validation split of a model's own data holds examples that it was trained on.

    It must be the one that the model was trained beside.
    """
    if record is None or dataset.fingerprint != record.fingerprint or not dataset.val_fraction:
        return
    problems = []
    for name in ("val_fraction", "split_seed", "limit"):
        if (there := getattr(record, name)) != (here := getattr(dataset, name)):
            said = ["none" if each is None else each for each in (there, here)]
            problems.append(f"{option_of(name)}: {said[0]} there, {said[1]} here")
    if not problems:
        return
    problems.append("--val-fraction 0 does without a validation split")
    if record.val_fraction:
        raise StarcliError(f"the validation split would hold examples that {model} was trained on", problems)
    problems.append("of a model from elsewhere that was trained beside such a split, convert --val-fraction records it")
    raise StarcliError(f"{model} records no validation split: one would hold examples of its training", problems)
