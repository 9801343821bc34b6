"""Agreement of checkpoints with each other and with their network: all that is wrong is said at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Architecture, Metadata
from starcli.checkpoints.prefixes import NetworkNames
from starcli.errors import StarcliError, few, first_of, short
from starcli.huggingface.directory import told_of_weights
from starcli.huggingface.tasks import task_of
from starcli.models.dtypes import float_types
from starcli.models.names import imports_code, is_huggingface
from starcli.models.state_dicts import fit, is_state_of, misfits, not_finite, versions_of
from starcli.models.tensor_names import with_own_values
from starcli.registry.tasks import OF_COLUMNS
from starcli.workspace.choices import Choices
from starcli.workspace.names_of_others import needed_names, way_out, without_prefix


def refuse_differences(checkpoints: Sequence[Checkpoint], choices: Choices) -> None:
    """Raise StarcliError where checkpoints say different things of their architecture, data or spec.

    A spec, a limit and a validation split that are chosen take the place of all that they record.
    """
    told = ("architecture", "data", *(() if choices.spec else ("spec",)))
    sayers = {what: first_that_says(checkpoints, what) for what in told}
    problems, ways = list[str](), dict[str | None, None]()
    for other in checkpoints:
        for what, first in sayers.items():
            mine, theirs = _settled(first.metadata, what, choices), _settled(other.metadata, what, choices)
            if mine is None or theirs is None:
                continue
            different = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
            if "name" in different:
                different = ["name"]  # all else follows from it
            if "val_fraction" in different and "split_seed" in different:
                different.remove("split_seed")
            problems += [
                f"{what} {key}: {short(theirs.get(key))} in {other.name}, {short(mine.get(key))} in {first.name}"
                for key in different
            ]
            ways |= dict.fromkeys(_WAYS_OUT.get(f"{what} {key}") for key in different)
            if different:
                break
    if problems:
        # a way out of one difference is none where there are others
        hints = [] if None in ways else [way for way in ways if way]
        raise StarcliError("the checkpoints do not belong together", [*problems, *hints])


def data_differ(checkpoints: Sequence[Checkpoint], choices: Choices) -> bool:
    """Whether some checkpoints record other data than others, after what of these is chosen for all."""
    said = [_settled(each.metadata, "data", choices) for each in checkpoints if each.metadata.data is not None]
    return any(each != said[0] for each in said)


_ONE_SPLIT = "--val-fraction 0 does without a validation split"

_WAYS_OUT = {
    "data limit": "--limit N takes the same examples for all of them",
    "data val_fraction": _ONE_SPLIT,
    "data split_seed": _ONE_SPLIT,
    "spec sha256": "--spec FILE says one for all of them; starcli spec derive -o FILE finds the network's own",
}
"""What makes one of what checkpoints record differently."""


def first_that_says(checkpoints: Sequence[Checkpoint], what: str) -> Checkpoint:
    """The first checkpoint with a record of `what`, architecture, data or spec; the first one where none has it."""
    return next((each for each in checkpoints if getattr(each.metadata, what) is not None), checkpoints[0])


def _settled(metadata: Metadata, what: str, choices: Choices) -> dict[str, Any] | None:
    """What a checkpoint says of its architecture, data or spec, arguments beside the rest; of a spec the hash.

    Without what of its data is chosen otherwise.
    """
    record = getattr(metadata, what)
    if record is None:
        return None
    fields: dict[str, Any] = record.model_dump(mode="json", include={"sha256"} if what == "spec" else None)
    arguments = fields.pop("arguments", {})
    if what == "data":
        # names alone: what stands in the columns is in the fingerprint
        for names in ("features", *(["class_names"] if fields.get("task") in OF_COLUMNS else [])):
            fields.pop(names, None)
        chosen = {name: getattr(choices, name) for name in ("limit", "val_fraction", "split_seed")}
        fields |= {name: value for name, value in chosen.items() if value is not None}
        if not fields["val_fraction"]:
            del fields["split_seed"]  # it divides nothing
    if what == "architecture" and is_huggingface(fields["name"]):
        arguments = told_of_weights(fields["name"], arguments)
        if not task_of(fields["name"]).images:
            del fields["input_shape"]  # of texts of any length
    return {**fields, **arguments}


def unsaid_words(architecture: Architecture, said: Mapping[str, Any]) -> list[str]:
    """Arguments that must be said again of an architecture from outside the registry: those that are words.

    A file comes from a stranger, and code may take a word for a path or an address. One line each.
    """
    if not imports_code(architecture.name):
        return []
    words = {name: value for name, value in architecture.arguments.items() if name not in said and not _number(value)}
    return [
        f"--arch-arg {name}={short(value)}, for only the command line hands words to code"
        for name, value in words.items()
    ]


def _number(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_number, value))
    return value is None or isinstance(value, int | float)


def replaced(checkpoint: Checkpoint, network: nn.Module, patterns: Sequence[str]) -> Checkpoint:
    """A checkpoint with the tensors of `network` in the place of those whose names match one of the patterns."""
    own = checkpoint if checkpoint.metadata.weights_sha256 else without_prefix(checkpoint, needed_names(network))
    return own.with_tensors(with_own_values(network, own.tensors, patterns))


_PACKED = re.compile(r"\.(absmax|SCB|quant_state\..+|qweight|qzeros|weight_packed|weight_scale_inv)$")

MISFITS = 12
"""Maximum number of mismatches reported."""


class WeightsMisfitError(StarcliError):
    """Weights that are no state of a network.

    `names` are those of the tensors that are missing or of another shape, where nothing else is wrong.
    """

    def __init__(self, summary: str, problems: Sequence[str], names: Sequence[str]) -> None:
        super().__init__(summary, problems)
        self.names = tuple(names)


def fitted(
    checkpoints: Sequence[Checkpoint], outline: nn.Module, fresh: Callable[[], nn.Module], network: str
) -> list[Checkpoint]:
    """`checkpoints` with the tensors that torch's strict load makes of theirs in the network called `network`.

    outline: the network, if only its names and shapes. fresh: makes a new one with values; it is called where tensors
    are not the network's state as they are. The others stay memory-mapped.
    StarcliError with all that does not fit (see `load_state`), and with values that are not finite.
    """
    found, problems = [], dict[str, list[str]]()
    names = needed_names(outline)
    for checkpoint in checkpoints:
        try:
            found.append(_fitted(checkpoint, outline, fresh, names))
            lines = _not_finite(found[-1].fresh_tensors(), outline)
        except StarcliError as error:
            lines = list(error.problems)
        for line in lines:
            problems.setdefault(line, []).append(checkpoint.name)
    if problems:
        said = [line if "starcli convert" in line else f"{line} in {few(where, 3)}" for line, where in problems.items()]
        shards = [
            f"{each.name}: one shard of several; its folder is the whole" for each in checkpoints if _is_shard(each)
        ]
        quantised = filter(_is_packed, checkpoints)
        packed = [f"{each.name}: its weights are quantised, which is not supported" for each in quantised]
        wanted = [line.partition(": ")[0] for line in problems if line.endswith(": missing") or ": shape " in line]
        what, lines = f"the weights do not fit the network {network}", first_of([*shards, *packed, *said], MISFITS)
        raise WeightsMisfitError(what, lines, wanted if len(wanted) == len(problems) else ())
    return found


def _is_shard(model: Checkpoint) -> bool:
    """Whether a model was read from a file that is called as one of several shards."""
    return model.path is not None and re.search(r"-\d{5}-of-\d{5}\.[a-z]+$", model.path.name) is not None


def _is_packed(model: Checkpoint) -> bool:
    """Whether tensors have names that bitsandbytes, GPTQ, AWQ and the like give to what unpacks quantised weights."""
    return any(_PACKED.search(name) for name in model.tensors)


def _fitted(
    checkpoint: Checkpoint, outline: nn.Module, fresh: Callable[[], nn.Module], names: NetworkNames
) -> Checkpoint:
    """A checkpoint as a state of the network, as it is or without the prefix of a trainer."""
    try:
        return _loaded(checkpoint, outline, fresh)
    except StarcliError:
        if checkpoint.metadata.weights_sha256:  # a file of ours has the names of its network
            raise
    bare = without_prefix(checkpoint, names)
    try:
        return _loaded(bare, outline, fresh)
    except StarcliError as error:
        raise StarcliError(error.summary, [*way_out(checkpoint, error), *error.problems]) from None


def _loaded(checkpoint: Checkpoint, outline: nn.Module, fresh: Callable[[], nn.Module]) -> Checkpoint:
    """A checkpoint with the tensors that a load makes of its own."""
    tensors = checkpoint.fresh_tensors()
    if is_state_of(outline, tensors):
        return replace(checkpoint, versions=versions_of(outline))
    _refuse_fewer_weights(outline, tensors)
    # what we wrote, or fitted before, is the state of such a network as it is
    known = versions_of(outline) if checkpoint.metadata.run_id else checkpoint.versions
    result = fit(fresh(), tensors, known)
    return checkpoint.with_tensors(
        result.state(checkpoint.tensors),
        reopen=lambda: result.state(checkpoint.fresh_tensors()),
        versions=versions_of(outline),
    )


def _refuse_fewer_weights(outline: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a file with fewer numbers than an outline has parameters, before the network takes memory."""
    parameters = list(outline.parameters())
    expected, count = sum(p.numel() for p in parameters), sum(tensor.numel() for tensor in tensors.values())
    if any(parameter.is_meta for parameter in parameters) and count < expected:
        raise StarcliError("", misfits(outline.state_dict(), tensors))


def note_of_types(models: Sequence[Checkpoint], *, writes: bool, dtype: str | None) -> list[str]:
    """A note on weights that are not float32: what is written of them, or that float32 is computed with; or none."""
    models_of: dict[str, list[str]] = {}
    for model in models:
        for each in float_types(model.tensors):
            models_of.setdefault(each, []).append(model.name)
    types = sorted(models_of)
    if dtype is not None or types == ["float32"] or (writes and types == ["float64"]):
        return []
    kept = "what is written has their types" if len(types) == 1 else "a file keeps its model's, a mean has one for all"
    what = f"{kept}; --dtype chooses one" if writes else "they are computed with in float32"
    if all(names == models_of[types[0]] for names in models_of.values()):  # it is so in each model
        return [f"the weights are {few(types, 5)}: {what}"]
    listed = "; ".join(f"{each} in {few(models_of[each], 3)}" for each in types)
    return [f"the weights are of several types, {listed}: {what}"]


def _not_finite(tensors: Mapping[str, Tensor], outline: nn.Module) -> list[str]:
    """A line for each tensor with NaN or infinite values: no loss and no alignment says anything of such a model.

    Buffers that a new network has with the same values, such as masks of attention, are what they are meant to be.
    """
    own = {name: buffer for name, buffer in outline.named_buffers() if not buffer.is_meta}
    return [
        f"{name}: has values that are not finite"
        for name in sorted(not_finite(tensors))
        if name not in own or not torch.equal(own[name].to(tensors[name].dtype), tensors[name])
    ]
