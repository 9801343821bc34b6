"""The data that models are measured on: what `--data` names, and with `--train-data` the models' own beside it."""

from dataclasses import replace

from starcli.checkpoints.metadata import DataRecord
from starcli.data.arrays import NO_TRAINING_PART
from starcli.data.dataset import Dataset, TestData
from starcli.data.names import IN_MEMORY
from starcli.data.normalise_option import same_statistics
from starcli.errors import StarcliError, few
from starcli.registry.tasks import CLASSES, OF_TOKENS
from starcli.workspace.choices import Choices
from starcli.workspace.data import agreed_data
from starcli.workspace.given import Given


def opened_data(
    choices: Choices, given: Given, record: DataRecord | None, model: str, *, needed: bool
) -> tuple[Dataset | None, tuple[str, ...]]:
    """The data of models, and notes, as of `agreed_data`; with `--train-data` the two that are named there as one.

    None where they are neither `needed` nor named at all.
    """
    held, held_train = given.dataset, given.train_dataset
    if choices.train_data is None and held_train is None:
        known = needed or choices.names_data or held is not None
        return agreed_data(choices, held, record, model) if known else (None, ())
    if held is None and choices.data is None:
        raise StarcliError("--train-data goes with --data: the data that models are measured on, where they are others")
    of_training = replace(choices, data=choices.train_data)
    own, of_own = agreed_data(of_training, held_train, record, model)
    # nothing but their test split is read
    of_test = replace(choices, limit=None, val_fraction=0.0)
    other, of_other = agreed_data(of_test, held, record, model)
    if record is None:
        of_other = ()  # on how they are normalised, which is as the models' own data are
    elif own.fingerprint != record.fingerprint:
        of_own = tuple(f"--train-data: {note}" for note in of_own)
    as_given = other.name == IN_MEMORY and choices.normalise is None
    return with_test_split_of(own, other, as_given=as_given), tuple(dict.fromkeys((*of_own, *of_other)))


def with_test_split_of(own: Dataset, other: Dataset, *, as_given: bool = False) -> Dataset:
    """`own` data with the test split of `other` ones (`tested`), which is normalised alike unless it is `as_given`.

    Raises StarcliError with all in which they differ so that no model takes both.
    """
    held = other.name == IN_MEMORY  # its floats may be those that bytes are scaled to
    kinds = [
        (each.task, each.input_shape, each.vocab_size is None, None if held else each.span) for each in (own, other)
    ]
    names = ("what is predicted", "shape of an input", "no tokens", "largest raw input")
    problems = [
        f"{name}: {theirs} of --data, {ours} of --train-data"
        for name, ours, theirs in zip(names, *kinds, strict=True)
        if ours != theirs
    ]
    some = own.task in (CLASSES, *OF_TOKENS)  # some of the classes, or of the tokens, may be missing
    if other.num_classes > own.num_classes or (not some and other.num_classes != own.num_classes):
        problems.append(f"outputs: {other.num_classes} of --data, {own.num_classes} of --train-data")
    if own.class_names and other.class_names and own.class_names != other.class_names:
        problems.append(f"classes: {few(other.class_names, 5)} of --data, {few(own.class_names, 5)} of --train-data")
    if own.features and other.features and own.features != other.features:
        problems.append(f"columns: {few(other.features, 5)} of --data, {few(own.features, 5)} of --train-data")
    if problems:
        raise StarcliError("--data and --train-data are not for the same models", problems)
    if not as_given and not same_statistics((own.mean, own.std), (other.mean, other.std)):
        other = other.normalised(own.mean, own.std)
    which = TestData(other.name, other.fingerprint, other.written, other.vocab_size)
    of_other = (note for note in other.notes if NO_TRAINING_PART not in note)  # none is needed
    return replace(own, test=other.test, tested=which, notes=tuple(dict.fromkeys((*own.notes, *of_other))))
