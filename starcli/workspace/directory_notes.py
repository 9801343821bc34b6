"""Notes on data that are read otherwise than the directory of a model says."""

from starcli.data.dataset import Dataset
from starcli.data.image_parts import stored_size
from starcli.data.names import IMAGES_OF_ANY_SIZE
from starcli.errors import StarcliError, few
from starcli.huggingface.directory import PROBLEM_TYPES, Directory
from starcli.models.build import MisfitError


def notes_of_directory(directory: Directory | None, dataset: Dataset | None) -> tuple[str, ...]:
    """Notes on data that are not as a directory says.

    StarcliError for another order of the same classes, and for classes where it is for numbers or any labels.
    """
    if directory is None or dataset is None:
        return ()
    if directory.task in PROBLEM_TYPES and dataset.task != directory.task:
        said = f"data {dataset.name} are for {dataset.task}, and {directory.path} is for {directory.task}"
        raise MisfitError(said, [f"--task {directory.task} reads labels that are numbers so"])
    resizing, channels = _note_of_resizing(directory, dataset), note_of_channels(directory)
    return (*_note_of_classes(directory, dataset), *resizing, *channels)


def note_of_channels(directory: Directory | None) -> tuple[str, ...]:
    """A note where a directory says that its channels are in another order than images have them."""
    if directory is None or not directory.image_settings.flips_channels:
        return ()
    said = f"{directory.path} says that channels are blue, green, red (do_flip_channel_order)"
    return (f"{said}, and images are read as red, green, blue: its published figures may be others",)


def _note_of_classes(directory: Directory, dataset: Dataset) -> tuple[str, ...]:
    """A note where data name their classes otherwise than a directory. StarcliError for another order of the same."""
    if not directory.class_names or not dataset.class_names:
        return ()
    ours, theirs = tuple(dataset.class_names), directory.class_names
    if ours == theirs:
        return ()
    words = f"{few(ours, 5)} in the data, {few(theirs, 5)} in {directory.path}"
    if sorted(ours) == sorted(theirs):
        raise StarcliError(f"{dataset.name}: the classes are in another order than the model's", [words])
    return (f"the classes have other names: {words}",)


def _note_of_resizing(directory: Directory, dataset: Dataset) -> tuple[str, ...]:
    """A note on how images of any size are brought to theirs, where a directory has words of its own for that."""
    said = directory.image_settings.resizing
    if dataset.name not in IMAGES_OF_ANY_SIZE or not said:
        return ()
    size = dataset.input_shape[-1]
    stored = stored_size(size)
    cut = f" and cut to {size} x {size}" if stored > size else ""
    how = f"images are resized bilinearly to {stored} x {stored}{cut}"
    return (f"{how}, and {directory.path} says {said}: its published figures may be others",)
