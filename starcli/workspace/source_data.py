"""The data of sources that were trained on data of their own, each known by its record or named anew."""

from collections.abc import Sequence
from dataclasses import replace

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.dataset import Dataset
from starcli.data.joined import joined_data, refuse_other_tasks
from starcli.data.names import data_in_words, needs_path
from starcli.errors import StarcliError, number_of
from starcli.workspace.agreement import data_differ
from starcli.workspace.choices import Choices
from starcli.workspace.class_of_base import refuse_other_heads
from starcli.workspace.data import agreed_data, record_of, refuse_leaks
from starcli.workspace.directories import directory_among, settled_by
from starcli.workspace.given import NOTHING_GIVEN, Given
from starcli.workspace.workspace import Workspace, workspace_of


def workspace_of_sources(
    sources: Sequence[Checkpoint],
    others: Sequence[Checkpoint],
    choices: Choices,
    said: Sequence[str | Dataset] = (),
    *,
    held: Sequence[Dataset | None] = (),
    given: Given = NOTHING_GIVEN,
) -> tuple[Workspace, list[Checkpoint], tuple[Dataset, ...]]:
    """The workspace of sources and other models, these as of `workspace_of`, and the data that each source has alone.

    said: the data of each source, by name or in memory, in their order; without any they are as recorded, and where all
    record the same there are none that one has alone. held: data in memory that sources were made with.

    With data of their own, the workspace is on those that the choices name or that are given, which may be any that all
    models take, else on the data of all sources joined (`joined_data`). Sources of the same data share one `Dataset`.

    StarcliError for another number of data than of sources, a source of which nothing says where its data lie, and data
    that are not for one model.
    """
    models = [*sources, *others]
    refuse_other_heads(others, sources[0])
    if not said and not data_differ(sources, choices):
        return (*workspace_of(models, choices, given=given), ())
    if said and len(said) != len(sources):
        raise StarcliError(f"--source-data: {number_of(len(said), 'data set')} for {number_of(len(sources), 'source')}")
    own, notes = _opened(sources, choices, said or [None] * len(sources), held or [None] * len(sources))
    refuse_other_tasks([(each.name, dataset) for each, dataset in zip(sources, own, strict=True)])
    record = next((each.metadata.data for each in sources if each.metadata.data is not None), None)
    if choices.data is None and given.dataset is None:
        named = {id(dataset): (each.name, dataset) for each, dataset in zip(sources, own, strict=True)}
        dataset = joined_data([*named.values()])
        given, record = replace(given, dataset=dataset), record_of(dataset)
    alike = [replace(each, metadata=each.metadata.model_copy(update={"data": record})) for each in models]
    workspace, fitted = workspace_of(alike, replace(choices, measures=True), given=given)
    for dataset in (workspace.dataset, *own):
        for each in models:
            refuse_leaks(dataset, each.metadata.data, each.name)
    found = [replace(one, metadata=each.metadata) for one, each in zip(fitted, models, strict=True)]
    return replace(workspace, notes=tuple(dict.fromkeys((*workspace.notes, *notes)))), found, own


def _opened(
    sources: Sequence[Checkpoint],
    choices: Choices,
    said: Sequence[str | Dataset | None],
    held: Sequence[Dataset | None],
) -> tuple[tuple[Dataset, ...], tuple[str, ...]]:
    """The data of each source, the same ones opened once, and notes on those that are not as recorded."""
    _refuse_unknown(sources, said, held)
    opened: dict[object, tuple[Dataset, tuple[str, ...]]] = {}
    distinct: dict[object, Dataset] = {}
    found, notes = [], dict[str, None]()
    for source, name, own in zip(sources, said, held, strict=True):
        record = source.metadata.data
        in_memory = name if isinstance(name, Dataset) else own if name is None else None
        read = record.model_dump_json() if record is not None else source.path  # a directory says how data are read
        key = (name if isinstance(name, str) else id(in_memory), read)
        if key not in opened:
            chosen = replace(choices, data=name if isinstance(name, str) else None, measures=True)
            chosen = settled_by(directory_among(chosen, [source]), chosen, recorded=record is not None)
            opened[key] = agreed_data(chosen, in_memory, record, source.name)
        dataset, more = opened[key]
        # two folders of files of the same names and sizes are not the same data
        found.append(distinct.setdefault((record_of(dataset).model_dump_json(), dataset.written), dataset))
        notes |= dict.fromkeys(more)
    return tuple(found), tuple(notes)


def _refuse_unknown(
    sources: Sequence[Checkpoint], said: Sequence[str | Dataset | None], held: Sequence[Dataset | None]
) -> None:
    """Raise StarcliError for sources of which nothing says where their data are."""
    problems = []
    for source, name, own in zip(sources, said, held, strict=True):
        record = source.metadata.data
        if name is None and own is None and (record is None or needs_path(record.name)):
            kept = "" if record is None else f"was trained on {data_in_words(record.name)}, and no file keeps a path"
            problems.append(f"{source.name}: {kept or 'does not say what it was trained on'}")
    if problems:
        hint = f"one for each of the {len(sources)} sources, in their order: --source-data NAME..."
        raise StarcliError("the sources were trained on different data: --source-data is needed", [*problems, hint])
