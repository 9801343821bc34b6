"""Notes on the data of a command: how inputs are normalised, whose statistics are used, why a network does not fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from starcli.checkpoints.metadata import DataRecord
from starcli.data.dataset import Dataset
from starcli.data.names import IMAGES_OF_ANY_SIZE, needs_path
from starcli.data.normalisation import is_grey
from starcli.data.normalise_option import AS_THEY_ARE, normalise_words, same_statistics
from starcli.models.build import MisfitError

if TYPE_CHECKING:
    from starcli.workspace.choices import Choices


def statistics_note(network: nn.Module, measured: DataRecord | None, own: DataRecord | None) -> tuple[str, ...]:
    """A note for those who measure on other data than the models' own, from which BatchNorm's statistics come then."""
    if measured is None or own is None or measured.fingerprint == own.fingerprint:
        return ()
    if not any(isinstance(each, _NormBase) and each.running_mean is not None for each in network.modules()):
        return ()
    where = f"the training split of {measured.name}"
    return (f"BatchNorm statistics are estimated anew on {where}; --train-data names the models' own data",)


def scaling_notes(dataset: Dataset) -> tuple[str, ...]:
    """How inputs are normalised, where they are a user's own and nobody said how."""
    return (f"{dataset.name}: {dataset.scaling}",) if dataset.scaling else ()


@contextmanager
def misfits_explained(dataset: Dataset | None) -> Iterator[None]:
    """A network that does not fit the data is told with the notes on these: nobody sees them else, they may say why."""
    try:
        yield
    except MisfitError as error:
        if dataset is None:
            raise
        hints = list(dataset.notes)
        if dataset.name in IMAGES_OF_ANY_SIZE:
            side, place = dataset.input_shape[-1], IMAGES_OF_ANY_SIZE[dataset.name]
            hints.append(f"images of {place} are {side} x {side} here; --image-size chooses their side")
        if error.__cause__ is not None and is_grey(dataset.input_shape):  # it does not admit them
            ways = "--normalise imagenet, or MEAN:STD with three means"
            hints.append(f"for a network of RGB images, {ways}, repeats the grey ones of {dataset.name} three times")
        raise MisfitError(error.summary, [*error.problems, *hints]) from error


def standardised_note(dataset: Dataset, choices: "Choices") -> tuple[str, ...]:
    """How inputs of a known data set are normalised, of which a model from elsewhere says nothing."""
    own = (dataset.mean, dataset.std)
    if choices.normalise is not None or needs_path(dataset.name) or same_statistics(own, AS_THEY_ARE):
        return ()
    ways = "--normalise none leaves them in [0, 1], MEAN:STD says otherwise"
    return (f"{dataset.name}: inputs are standardised, by {normalise_words(*own)}; {ways}",)
