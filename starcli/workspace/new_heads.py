"""The model that training on other data begins at, as a model for these: with a new head where it needs one.

A directory of Hugging Face may hold a model for another task, or for none, or a classifier of other classes. Which
class of `transformers` it becomes, and which tensors are drawn for it, is decided here, before data are read.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Architecture
from starcli.data.names import parse_name
from starcli.errors import StarcliError, few, first_of, with_article
from starcli.huggingface.classes import without_classes
from starcli.huggingface.directory import PREFIX, Directory, network_arguments
from starcli.huggingface.tasks import task_of
from starcli.models.huggingface import class_of, config_of, loosely_from_disk, names_in_class
from starcli.models.names import is_huggingface
from starcli.models.new_heads import class_of_type, covering_patterns, names_beyond, names_of_outputs
from starcli.models.tensor_names import unmatched
from starcli.registry.tasks import CLASSES, NEXT_TOKEN, OF_TOKENS
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given

MODULES_OF_A_HEAD = 4
"""Names of modules in a hint: where more do not fit, it is another network and not another head."""


@dataclass(frozen=True)
class HeadedModel:
    """A model that training begins at, and which of its tensors are drawn anew.

    choices: those of the command line, which name the class of a model with a new head. outputs: patterns of the
    tensors that say how many classes there are, of a classifier in a directory. fresh: whether these are drawn anew.
    """

    model: Checkpoint
    choices: Choices
    reinit: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    fresh: bool = False
    notes: tuple[str, ...] = ()

    def how_to_draw_a_head(self) -> list[str]:
        """How to get a head for the classes of the data where it is kept; one line, or none."""
        if self.fresh or not self.outputs:
            return []
        return [f"--reinit {shlex.join([*self.reinit, *self.outputs])} draws a head for the classes of these data"]


def with_head(model: Checkpoint, choices: Choices, given: Given, reinit: Sequence[str]) -> HeadedModel:
    """What `model` becomes for the task of the data where it is a model of `transformers` or timm.

    A classifier keeps its head unless `reinit` names the tensors that have a number for each class. Where the class of
    the model has no head for the task, the tensors that it lacks are drawn. Any other model stays as it is.
    StarcliError for weights that its own class has, and the file does not.
    """
    kept = HeadedModel(model, choices, tuple(reinit))
    directory = model.found_directory(any_class=True)
    architecture = model.metadata.architecture
    named = choices.arch is not None and choices.arch != (architecture and architecture.name)
    if named or given.builder is not None or (directory is None and architecture is None):
        return kept
    if directory is not None and directory.is_timm:
        return _of_timm(kept, directory)
    if architecture is not None and not is_huggingface(architecture.name):
        return kept
    own, arguments = _network(architecture, directory)
    task = task_of(own)
    wanted = _task_of_data(choices, given, known=task.known)
    if task.known and wanted not in OF_TOKENS and (task.images or task.texts == CLASSES):
        return _with_another_head(kept, _Class(own, arguments, directory))
    model_type = str((directory.config if directory else {}).get("model_type") or _type_of(own))
    if not model_type or wanted in (None, task.texts):
        return kept
    name = class_of_type(model_type, wanted)
    if wanted not in OF_TOKENS:
        arguments |= _padding(name, arguments, directory)
    return _with_first_head(kept, _Class(name, arguments, directory), own, model_type)


@dataclass(frozen=True)
class _Class:
    """A class of networks, its arguments, and the directory that they are of."""

    name: str
    arguments: Mapping[str, Any]
    directory: Directory | None

    def without_classes(self) -> "_Class":
        """The same without what says which classes there are."""
        arguments = {key: value for key, value in self.arguments.items() if key != "num_labels"}
        if self.directory is None:
            return replace(self, arguments=arguments)
        bare = without_classes(self.directory, self.name)
        own = {key: arguments[key] for key in ("pad_token_id",) if key in arguments}
        return replace(self, arguments=arguments, directory=replace(bare, config={**bare.config, **own}))

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return names_in_class(self.name, self.arguments)

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the tensors with a number for each class."""
        return names_of_outputs(self.name, self.arguments)


def _network(architecture: Architecture | None, directory: Directory | None) -> tuple[str, dict[str, Any]]:
    """Class, or "" where a config names none, and arguments of a network of `transformers`."""
    if architecture is not None:
        return architecture.name.removeprefix(PREFIX), dict(architecture.arguments)
    config = directory.config if directory is not None else {}
    named = config.get("architectures")
    return (str(named[0]) if isinstance(named, list) and named else ""), network_arguments(config)


def _type_of(name: str) -> str:
    return str(class_of(name).config_class.model_type) if task_of(name).known else ""


def _task_of_data(choices: Choices, given: Given, *, known: bool) -> str | None:
    """What data are for, as far as that is known before they are read: classes may turn out to be numbers, or labels.

    None of texts that a language model (`known`) may predict the tokens of.
    """
    if given.dataset is not None:
        return given.dataset.task
    if choices.task is not None:
        return choices.task
    # those of `hf:DIR` always have labels
    labelled = choices.label_column is not None or parse_name(str(choices.data))[0] == "hf"
    return CLASSES if labelled or not known else None


def _padding(name: str, arguments: Mapping[str, Any], directory: Directory | None) -> dict[str, Any]:
    """The token behind a text, which a classifier needs to find its end, where the config of a model has none.

    It is that of the tokenizer, else the one that ends a text; 0 where neither is in the vocabulary.
    """
    if task_of(name).images:
        return {}
    config = config_of(name, arguments)
    if getattr(config, "pad_token_id", None) is not None:
        return {}
    end = getattr(config, "eos_token_id", None)
    said = [None if directory is None else directory.padding_token, *(end if isinstance(end, list) else [end])]
    size = getattr(config, "vocab_size", 0)
    return {"pad_token_id": next((each for each in said if isinstance(each, int) and 0 <= each < size), 0)}


def _with_first_head(kept: HeadedModel, wanted: _Class, own: str, model_type: str) -> HeadedModel:
    """A model as one of another class: what its own class does not have is drawn; what it has more is left out."""
    wanted = wanted.without_classes()
    found = loosely_from_disk(wanted.name, wanted.arguments, _of_decoder(wanted.name, kept.model.tensors))
    lacking = unmatched([*found.missing, *found.mismatched], kept.reinit)
    new = names_beyond(wanted.name, own, model_type, wanted.arguments)
    if problems := [each for each in lacking if each not in new]:
        raise _misfit(kept, wanted.name, problems, found.state)
    drawn = covering_patterns(lacking, found.state)
    more = [*dict.fromkeys(f"{each.split('.')[0]}.*" for each in found.unexpected)]
    said = f"{kept.model.name}: becomes {with_article(wanted.name)}"
    said += f", {few([*kept.reinit, *drawn], 4)} drawn from the seed" if drawn or kept.reinit else ""
    said += f", {few(more, 4)} left out" if more else ""
    model = _as_class(kept.model, wanted, found.state)
    return HeadedModel(
        model,
        replace(kept.choices, arch=f"{PREFIX}{wanted.name}"),
        (*kept.reinit, *drawn),
        fresh=True,
        notes=(said,),
    )


def _of_decoder(wanted: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of a body with the embedding of its decoder, which a class of that alone looks for by its own name.

    A model with encoder and decoder keeps the embedding of both once, as `shared.weight`.
    """
    shared = next((name for name in tensors if f".{name}".endswith(".shared.weight")), None)
    if shared is None or task_of(wanted).texts != NEXT_TOKEN:
        return tensors
    return {f"{shared.removesuffix('shared.weight')}decoder.embed_tokens.weight": tensors[shared], **tensors}


def _with_another_head(kept: HeadedModel, own: _Class) -> HeadedModel:
    """A classifier with its head or, where all tensors that say its classes are drawn anew, one for other classes."""
    state = kept.model.tensors
    if state.keys() != own.names:
        found = loosely_from_disk(own.name, own.arguments, state)
        state = found.state
        lacking = unmatched([*found.missing, *found.mismatched], kept.reinit)
        if lacking or found.unexpected:
            raise _misfit(kept, own.name, lacking, state, found.unexpected)
    outputs = tuple(covering_patterns(own.outputs, sorted(own.names)))
    if unmatched(own.outputs, kept.reinit):
        return replace(kept, model=_as_class(kept.model, own, state), outputs=outputs)
    own, arch = own.without_classes(), f"{PREFIX}{own.name}"
    choices = replace(kept.choices, arch=arch)
    return replace(kept, model=_as_class(kept.model, own, state), choices=choices, outputs=outputs, fresh=True)


def _as_class(model: Checkpoint, wanted: _Class, state: Mapping[str, Any]) -> Checkpoint:
    """A model with the tensors `state` of a class."""
    architecture = model.metadata.architecture
    name, arguments = f"{PREFIX}{wanted.name}", dict(wanted.arguments)
    if architecture is None:
        assert wanted.directory is not None
        architecture = Architecture.model_validate({**wanted.directory.architecture_fields(), "arguments": arguments})
    architecture = architecture.model_copy(update={"name": name, "arguments": arguments})
    metadata = model.metadata.model_copy(update={"architecture": architecture})
    if state is model.tensors:
        return replace(model, metadata=metadata, directory=wanted.directory)
    return model.with_tensors(state, metadata=metadata, versions=None, directory=wanted.directory)


def _misfit(
    kept: HeadedModel, name: str, lacking: Sequence[str], state: Collection[str], unexpected: Sequence[str] = ()
) -> StarcliError:
    """Error of weights that are not all there, with the words that draw those that are missing."""
    lines = [f"{each}: missing, or of another shape" for each in lacking]
    lines += [f"{each}: not in the network" for each in unexpected]
    patterns = covering_patterns(lacking, state)
    way = []
    if lacking and not unexpected and len(patterns) <= MODULES_OF_A_HEAD:
        way = [f"--reinit {shlex.join([*kept.reinit, *patterns])} draws these from the seed"]
    return StarcliError(f"{kept.model.name}: these weights do not fit {name}", [*first_of(lines, 12), *way])


def _of_timm(kept: HeadedModel, directory: Directory) -> HeadedModel:
    """A model in a directory of timm, which says by which names its head goes."""
    said = (directory.config.get("pretrained_cfg") or {}).get("classifier")
    heads = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    outputs = tuple(f"{each}.*" for each in heads if isinstance(each, str))
    there = [each for each in kept.model.tensors if any(fnmatchcase(each, pattern) for pattern in outputs)]
    headless = directory.config.get("num_classes") == 0
    covered = kept.reinit and not unmatched(there, kept.reinit)
    if not outputs or not (headless or covered):
        return replace(kept, outputs=outputs)
    drawn = [each for each in outputs if headless and each not in kept.reinit]
    model = replace(kept.model, directory=without_classes(directory))
    said = f"{model.name}: has no head, {few(drawn, 4)} drawn from the seed"
    notes = (said,) if drawn else ()
    return replace(kept, model=model, reinit=(*kept.reinit, *drawn), outputs=outputs, fresh=True, notes=notes)


def number_of_classes(architecture: Architecture) -> int | None:
    """How many classes a classifier of `transformers` or timm tells apart; None of other networks."""
    name = architecture.name.removeprefix(PREFIX)
    if is_huggingface(architecture.name) and (task_of(name).images or task_of(name).texts == CLASSES):
        return int(architecture.arguments.get("num_labels", config_of(name, {}).num_labels))
    count = architecture.arguments.get("num_classes")
    return count if isinstance(count, int) and architecture.name.startswith("timm:") else None
