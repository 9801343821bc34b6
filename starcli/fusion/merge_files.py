"""Merging files whose network nothing says, or whose data: tensor by tensor, from file to file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from starcli.alignment.alignment import AS_GIVEN
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.hashes import file_sha256
from starcli.errors import StarcliError, few
from starcli.files.lazy_tensors import LazyTensors
from starcli.files.shards import files_of
from starcli.files.slices import SlicedTensor, sliced_tensors
from starcli.fusion.fusing import Fusion
from starcli.fusion.merged_tensors import STATISTICS, SlicedModel, merged_tensors
from starcli.fusion.unrelated_files import unrelated_to_first
from starcli.huggingface.directory import Directory, network_arguments, told_of_weights
from starcli.merging.merge import Merge
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.agreement import first_that_says, refuse_differences
from starcli.workspace.choices import Choices
from starcli.workspace.class_of_base import refuse_other_heads
from starcli.workspace.directories import directories_of, refuse_other_orders, with_other_tokenizer, without_defaults
from starcli.workspace.plan import Plan, training_settings


def without_data(models: Sequence[Checkpoint]) -> list[str]:
    """Names of those that do not say their data: with one of them, unless data are named, files are merged alone."""
    return [model.name for model in models if model.metadata.data is None]


@dataclass(frozen=True)
class FileMerge:
    """A merge of files: its plan, and its tensors, each of which is made when it is asked for."""

    plan: Plan
    tensors: LazyTensors

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of itself besides its plan: which statistics BatchNorm has."""
        return {"statistics": "stale" if _has_statistics(self.tensors) else "training"}


def merges_of_files(
    merge: Merge, models: Sequence[Checkpoint], seeds: Sequence[int], *, base: bool, progress: Progress = SILENT
) -> list[FileMerge]:
    """The merge of `models` as files have them for each seed; see `merged_tensors`. base: whether the last is the base.

    Neither network nor data are asked for, and tensors are read in slices: what is held is a chunk of each model and
    one merged tensor. BatchNorm's statistics, known by their names, are the sources' mean, which a note says. Others
    say where some models record their data and others none, and where they are no fine-tunings of one model: in neither
    case anything is aligned or measured.
    """
    if base:
        refuse_other_heads(models[-1:], models[0])
    sliced = [_sliced(each) for each in models]
    _note_before(models, sliced, progress)
    fusions = [Fusion(method=merge.method, alignment=AS_GIVEN, seed=seed, merge=merge) for seed in seeds]
    _refuse_quantised(models)
    refuse_other_orders(models)
    sources, own = (sliced[:-1], sliced[-1]) if base else (sliced, None)
    # what cannot be is said now, before weights are hashed
    made = [merged_tensors(merge, sources, own, seed=seed, progress=progress) for seed in seeds]
    _note_merged(models, made[0], progress)  # the names of tensors are those of any seed
    with ThreadPoolExecutor() as pool:
        hashed = list(pool.map(_hashed, models, sliced))
    plans = [_plan(replace(each, base=hashed[-1] if base else None), hashed) for each in fusions]
    return [FileMerge(plan, tensors) for plan, tensors in zip(plans, made, strict=True)]


def _note_before(models: Sequence[Checkpoint], sliced: Sequence[SlicedModel], progress: Progress) -> None:
    silent = without_data(models)
    if len(silent) < len(models):
        progress.note(f"{silent[0]} says no data: all are merged as they are, unmeasured; --data measures them")
    if unrelated := unrelated_to_first(sliced):
        what = f"units in another order than {models[0].name}, as networks of different seeds have"
        progress.note(
            f"{few(unrelated, 3)}: {what}: merged as they are, these are hardly better than guessing; "
            "--arch and --data align them"
        )


def _note_merged(models: Sequence[Checkpoint], tensors: LazyTensors, progress: Progress) -> None:
    if _has_statistics(tensors):
        progress.note("BatchNorm statistics are averaged, not those of the merged weights: --data re-estimates them")
    places = directories_of(models, any_class=True)
    for each in places[1:]:
        if different := _different_settings(places[0], each):
            which = f"{few(different, 5)}: {each.path} says another value than {places[0].path}, whose config is copied"
            progress.note(f"{which}: these may be weights of different networks")
        if each.class_names and places[0].class_names and sorted(each.class_names) != sorted(places[0].class_names):
            words = f"{few(places[0].class_names, 5)} in {places[0].path}, {few(each.class_names, 5)} in {each.path}"
            progress.note(f"classes have other names: {words}: outputs of different meanings are merged")
    if places and (other := with_other_tokenizer(places)) is not None:
        which = f"the tokenizers of {places[0].path} and {other.path} differ"
        progress.note(f"{which}: embeddings of different tokens may be merged, and the first one's files are copied")


def _different_settings(first: Directory, other: Directory) -> list[str]:
    """Names of what the configs of two models of a class that is not known say of the network, each otherwise.

    What one leaves out is a default, which nobody knows here. Known classes are compared elsewhere.
    """
    if first.is_known or other.is_known:
        return []
    one, two = (_flat_settings(each.config) for each in (first, other))
    return [key for key in one if key in two and one[key] != two[key]]


def _flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says of the network; that of a part of it, as of CLIP's texts, by `text_config.hidden_act`."""
    flat = dict[str, Any]()
    for key, value in told_of_weights("", network_arguments(config)).items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": each for inner, each in _flat_settings(value).items()}
        else:
            flat[key] = value
    return flat


def _refuse_quantised(models: Sequence[Checkpoint]) -> None:
    """Refuse weights that are numbers only together with the scales beside them."""
    for model in models:
        if any(each.config.get("quantization_config") for each in directories_of([model], any_class=True)):
            raise StarcliError(f"{model.name}: its weights are quantised, which cannot be merged")


def _plan(fusion: Fusion, models: Sequence[Checkpoint]) -> Plan:
    """The plan of a merge of files: what they say of network and data alike."""
    first = first_that_says(models, "architecture")
    alike = all(each.metadata.architecture in (None, first.metadata.architecture) for each in models)
    refuse_differences(models if alike else [without_defaults(each) for each in models], Choices())
    data, spec = (getattr(first_that_says(models, what).metadata, what) for what in ("data", "spec"))
    settings = {**training_settings(first), "fused": fusion.record()}
    directory = next(iter(directories_of(models, any_class=True)), None)
    return Plan("fused", settings, fusion.seed, first.metadata.architecture, data, spec, models, directory)


def _has_statistics(tensors: LazyTensors) -> bool:
    """Whether some tensors are BatchNorm's statistics, by their names."""
    return any(name.endswith(STATISTICS) for name in tensors)


def _hashed(model: Checkpoint, sliced: SlicedModel) -> Checkpoint:
    """A checkpoint with the hash of its weights, which is read in pieces where they are those of its file."""
    in_file = all(isinstance(each, SlicedTensor) for each in sliced.tensors.values())
    if model.metadata.weights_sha256 or model.path is None or not in_file:
        return model
    return replace(model, metadata=model.metadata.model_copy(update={"weights_sha256": file_sha256(model.path)}))


def _sliced(model: Checkpoint) -> SlicedModel:
    """The tensors of a checkpoint, to be read in slices: from its safetensors file or shards, where these hold them."""
    path = model.path
    if path is not None and model.stored is None and all(".safetensors" in each.name for each in files_of(path)):
        tensors = sliced_tensors(path)
        if tensors.keys() == model.tensors.keys():
            return SlicedModel(model.name, tensors)
    return SlicedModel.of(model.name, model.tensors)
