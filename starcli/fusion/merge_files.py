"""Merging files whose network nothing says, or whose data: tensor by tensor, from file to file."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.hashes import file_sha256
from starcli.errors import StarcliError, few, need_several
from starcli.files.lazy_tensors import LazyTensors
from starcli.files.shards import files_of
from starcli.files.slices import sliced_tensors
from starcli.fusion.fusing import Fusion
from starcli.fusion.merged_tensors import STATISTICS, SlicedModel, merged_tensors
from starcli.fusion.unrelated_files import unrelated_to_first
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.agreement import first_that_says, refuse_differences
from starcli.workspace.choices import Choices
from starcli.workspace.directories import directories_of, with_other_tokenizer, without_defaults
from starcli.workspace.plan import Plan, training_settings


def without_data(models: Sequence[Checkpoint]) -> list[str]:
    """Names of those that do not say their data: with one of them, unless data are named, files are merged alone."""
    return [model.name for model in models if model.metadata.data is None]


def note_before_merge(models: Sequence[Checkpoint], progress: Progress) -> None:
    """Notes where some models say their data and others none, and where they are no fine-tunings of one model.

    In neither case anything is aligned or measured.
    """
    silent = without_data(models)
    if len(silent) < len(models):
        progress.note(f"{silent[0]} says no data: all are merged as they are, unmeasured; --data measures them")
    if unrelated := unrelated_to_first([_sliced(each) for each in models]):
        what = f"units in another order than {models[0].name}, as networks of different seeds have"
        progress.note(
            f"{few(unrelated, 3)}: {what}: merged as they are, these are hardly better than guessing; "
            "--arch and --data align them"
        )


def merge_files(fusion: Fusion, models: Sequence[Checkpoint], *, progress: Progress = SILENT) -> LazyTensors:
    """The merge of `models` as files have them, by `fusion.merge`; see `merged_tensors`. The last may be the base.

    Neither network nor data are asked for, and tensors are read in slices: what is held is a chunk of each model and
    one merged tensor. BatchNorm's statistics, known by their names, are the sources' mean, which a note says.
    """
    sources = [model for model in models if model is not fusion.base]
    need_several(sources)
    assert fusion.merge is not None
    _refuse_quantised(models)
    base = None if fusion.base is None else _sliced(fusion.base)
    found = merged_tensors(fusion.merge, [_sliced(each) for each in sources], base, seed=fusion.seed, progress=progress)
    if has_statistics(found):
        progress.note("BatchNorm statistics are averaged, not those of the merged weights: --data re-estimates them")
    places = directories_of(models, any_class=True)
    if places and (other := with_other_tokenizer(places)) is not None:
        which = f"the tokenizers of {places[0].path} and {other.path} differ"
        progress.note(f"{which}: embeddings of different tokens may be merged, and the first one's files are copied")
    return found


def _refuse_quantised(models: Sequence[Checkpoint]) -> None:
    """Refuse weights that are numbers only together with the scales beside them."""
    for model in models:
        if any(each.config.get("quantization_config") for each in directories_of([model], any_class=True)):
            raise StarcliError(f"{model.name}: its weights are quantised, which cannot be merged")


def merge_plan(fusion: Fusion, models: Sequence[Checkpoint]) -> Plan:
    """The plan of a merge of files: what they say of network and data alike."""
    first = first_that_says(models, "architecture")
    alike = all(each.metadata.architecture in (None, first.metadata.architecture) for each in models)
    refuse_differences(models if alike else [without_defaults(each) for each in models], Choices())
    data, spec = (getattr(first_that_says(models, what).metadata, what) for what in ("data", "spec"))
    settings = {**training_settings(first), "fused": fusion.record()}
    directory = next(iter(directories_of(models, any_class=True)), None)
    return Plan("fused", settings, fusion.seed, first.metadata.architecture, data, spec, models, directory)


def merge_facts(tensors: LazyTensors) -> dict[str, Any]:
    """Metadata of a merge of files besides its plan: which statistics BatchNorm has."""
    statistics: Literal["stale", "training"] = "stale" if has_statistics(tensors) else "training"
    return {"statistics": statistics}


def has_statistics(tensors: LazyTensors) -> bool:
    """Whether some tensors are BatchNorm's statistics, by their names."""
    return any(name.endswith(STATISTICS) for name in tensors)


def with_hashes(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints, those of files with the hash of their weights, which is read in pieces, of several at once."""

    def hashed(checkpoint: Checkpoint) -> Checkpoint:
        path = _safetensors_path(checkpoint)
        if checkpoint.metadata.weights_sha256 or path is None:
            return checkpoint
        return replace(
            checkpoint, metadata=checkpoint.metadata.model_copy(update={"weights_sha256": file_sha256(path)})
        )

    with ThreadPoolExecutor() as pool:
        return list(pool.map(hashed, checkpoints))


def _sliced(checkpoint: Checkpoint) -> SlicedModel:
    """The tensors of a checkpoint, to be read in slices: from its file, where that holds just these."""
    path = _safetensors_path(checkpoint)
    if path is None:
        return SlicedModel.of(checkpoint.name, checkpoint.tensors)
    return SlicedModel(checkpoint.name, sliced_tensors(path))


def _safetensors_path(checkpoint: Checkpoint) -> Path | None:
    """The safetensors file or index whose tensors are those of a checkpoint; None where they are read otherwise."""
    path = checkpoint.path
    if path is None or checkpoint.stored is not None or not all(".safetensors" in each.name for each in files_of(path)):
        return None
    return path if sliced_tensors(path).keys() == checkpoint.tensors.keys() else None
