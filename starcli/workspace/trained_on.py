"""The workspace of networks that begin at a model: on its own data, or on others that they are trained on from then."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.names import parse_name
from starcli.data.normalise_option import normalise_words, same_statistics
from starcli.data.tables import part_tables
from starcli.data.text import UnknownLabelError, is_labelled
from starcli.data.text_options import OF_TEXTS
from starcli.data.tokenizers import refuse_other_tokenizer
from starcli.errors import StarcliError, number_of
from starcli.huggingface.classes import with_classes
from starcli.huggingface.directory import directory_of_any
from starcli.models.build import MisfitError
from starcli.models.from_data import SYNONYMS
from starcli.models.names import imports_code, is_huggingface
from starcli.registry.tasks import CLASSES, OF_TOKENS
from starcli.workspace.agreement import WeightsMisfitError
from starcli.workspace.choices import Choices
from starcli.workspace.data import refuse_leaks
from starcli.workspace.given import NOTHING_GIVEN, Given
from starcli.workspace.new_heads import MODULES_OF_A_HEAD, HeadedModel, number_of_classes, with_head
from starcli.workspace.training_notes import training_notes
from starcli.workspace.workspace import Workspace, workspace_of

OF_OUTPUTS = (*SYNONYMS["num_classes"], *SYNONYMS["next_token"])
"""Arguments of a network that say what it predicts, which other data say anew."""


def workspace_trained_on(
    model: Checkpoint, choices: Choices, given: Given = NOTHING_GIVEN, reinit: Sequence[str] = ()
) -> tuple[Workspace, Checkpoint, tuple[str, ...]]:
    """The workspace of networks that begin at `model`, the model as these take it, and what of it is drawn anew.

    The model has the tensors that these networks make of its own; what is drawn are patterns of names of tensors.

    Data that are named or given are those that is trained on from now, read as `train` reads them for a new network:
    with as many outputs as they have classes. Without any they are the model's own, as it records them.

    reinit: patterns of names of tensors that need not fit, for they are drawn anew; a model of Hugging Face without a
    head for classes adds those of a new one, see `with_head`.
    """
    if choices.data is None and given.dataset is None:
        if model.metadata.data is None and model.path is not None and directory_of_any(model.path) is not None:
            raise StarcliError(f"--data is needed: {model.name} does not say what it was trained on")
        workspace, [fitted] = workspace_of([model], choices, given=given, reinit=reinit)
        return _with_training_notes(workspace), fitted, tuple(reinit)
    headed = with_head(model, choices, given, reinit)
    bare, choices = _without_data(headed.model, headed.choices)
    try:
        workspace, [fitted] = workspace_of([bare], choices, given=given, reinit=headed.reinit)
    except WeightsMisfitError as error:
        raise StarcliError(error.summary, [*error.problems, *_way_out(error)]) from error
    except (MisfitError, UnknownLabelError) as error:
        raise StarcliError(error.summary, [*error.problems, *headed.how_to_draw_a_head()]) from error
    refuse_leaks(workspace.dataset, model.metadata.data, model.name)
    notes = [*headed.notes, *_notes_of_reading(workspace, model), *_notes_of_labels(workspace, headed)]
    workspace = replace(_named_after_data(workspace), notes=(*workspace.notes, *notes))
    return _with_training_notes(workspace), replace(fitted, metadata=model.metadata), headed.reinit


def _named_after_data(workspace: Workspace) -> Workspace:
    """A workspace whose directory says the outputs that are trained on from now, and names them."""
    directory, count = workspace.directory, number_of_classes(workspace.architecture)
    dataset = workspace.dataset
    if directory is None or count is None or dataset.task in OF_TOKENS:
        return workspace
    names = dataset.class_names if len(dataset.class_names) == count else directory.class_names
    return replace(workspace, directory=with_classes(directory, count, names, dataset.task))


def _notes_of_labels(workspace: Workspace, headed: HeadedModel) -> list[str]:
    """A note where labels are not used, or a head that is kept has more outputs than they need."""
    dataset, name = workspace.dataset, headed.model.name
    if dataset.task in OF_TOKENS and workspace.choices.task in OF_TOKENS and headed.choices.task is None:
        kind, place = parse_name(str(workspace.choices.data)) if workspace.choices.data else ("", "")
        files = part_tables(Path(place)).values() if Path(place).is_dir() else [Path(place)]
        if kind == "text" and is_labelled(next(iter(files)), workspace.choices.texts):
            return [f"{name} predicts tokens, and labels are not used; --task classes gives it a head for them"]
    count = number_of_classes(workspace.architecture)
    if dataset.task != CLASSES or count is None or count <= dataset.num_classes:
        return []
    said = f"{name} has {count} outputs, and the data {number_of(dataset.num_classes, 'class', 'classes')}"
    return [f"{said}; {each}" for each in headed.how_to_draw_a_head()]


def _way_out(error: WeightsMisfitError) -> list[str]:
    """How to go on where a few tensors are missing or of another shape; one line, or none."""
    patterns = list(dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in error.names))
    if not patterns or len(patterns) > MODULES_OF_A_HEAD:
        return []
    return [f"--reinit {shlex.join(patterns)} draws these anew, such as a head for other classes"]


def _with_training_notes(workspace: Workspace) -> Workspace:
    notes = dict.fromkeys((*workspace.notes, *training_notes(workspace.dataset)))
    return replace(workspace, notes=tuple(notes))


def _without_data(model: Checkpoint, choices: Choices) -> tuple[Checkpoint, Choices]:
    """The model without what it records of its data, and its architecture as a choice, for other data to complete."""
    metadata, architecture = model.metadata, model.metadata.architecture
    if architecture is not None and not is_huggingface(architecture.name):  # a config says its outputs itself
        arguments = {name: value for name, value in architecture.arguments.items() if name not in OF_OUTPUTS}
        architecture = architecture.model_copy(update={"arguments": arguments})
        if choices.arch is None and not imports_code(architecture.name):
            choices = replace(choices, arch=architecture.name)
    texts = choices.data is not None and parse_name(choices.data)[0] in OF_TEXTS
    if texts and choices.length is None and metadata.data is not None and metadata.data.vocab_size is not None:
        choices = replace(choices, length=metadata.data.input_shape[0])
    bare = {"data": None, "architecture": architecture, "spec": None}  # a spec has the sizes of the old head
    return replace(model, metadata=metadata.model_copy(update=bare)), choices


def _notes_of_reading(workspace: Workspace, model: Checkpoint) -> list[str]:
    """A note where inputs are normalised otherwise than the model's were. StarcliError for other tokens than these."""
    dataset, record = workspace.dataset, model.metadata.data
    if record is None:
        return []
    if dataset.vocab_size is not None:
        if record.vocab_size is not None and dataset.name in OF_TEXTS:
            refuse_other_tokenizer(workspace.choices.tokenizer, record.tokenizer)
        return []
    if same_statistics((dataset.mean, dataset.std), (record.mean, record.std)):
        return []
    here, there = (normalise_words(one.mean, one.std) for one in (dataset, record))
    return [f"{dataset.name}: normalised by {here}, {model.name} was trained on inputs normalised by {there}"]
