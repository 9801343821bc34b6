"""Networks of `transformers` by class and config, as networks of one input and logits: `hf:CLASS`.

Classes are those of the installed package alone; code that a config names is never looked for.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, first_line, first_of
from starcli.files.safetensors import read_tensors
from starcli.huggingface.directory import network_arguments
from starcli.huggingface.tasks import task_of
from starcli.runtime.global_generator import generator_borrowed

MOST_LAYERS = 10_000
"""Largest number of layers: a config may be a stranger's, and each is built before any weight is looked at."""

_EXPERTS = "_experts_implementation"
"""Where a config says how mixtures of experts are computed."""
_PLAINLY = "eager"
"""How attention and mixtures of experts are computed: every class can, and it runs in float64; attention traces so."""
_WITHOUT_LOOPS = "batched_mm"
"""How experts are computed where no size may depend on the input: a matrix is looked up for each token."""

_HEAD_AT_THE_END = "classification_head"
"""The head of classifiers with encoder and decoder that read a text at its end; others of that kind have a `score`."""


class _LogitsOfOneInput:
    """Mixed into a class of `transformers`: takes images (B, C, H, W), or tokens (B, length) with -1 behind a text.

    The names of its tensors are those of the class.
    """

    config: Any

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.is_floating_point():
            found = super().forward(pixel_values=inputs)  # type: ignore[misc]
            return found.logits  # type: ignore[no-any-return]
        found = super().forward(**self._texts(inputs))  # type: ignore[misc]
        return found.logits  # type: ignore[no-any-return]

    def _texts(self, inputs: Tensor) -> dict[str, Tensor]:
        here = inputs >= 0
        # some classes find the end of a text, or number its positions, by the token of padding
        ids = torch.where(here, inputs, getattr(self.config, "pad_token_id", None) or 0)
        return {"input_ids": ids, "attention_mask": here.long()}


class _LogitsAtTheEnd(_LogitsOfOneInput):
    """The same of classifiers with encoder and decoder, whose head reads the decoder at the last end of a text.

    Their own forward looks for it by sizes that depend on the input, which cannot be traced, and in a batch admits
    only texts with as many ends as each other.
    """

    base_model: nn.Module
    classification_head: Callable[[Tensor], Tensor]

    def forward(self, inputs: Tensor) -> Tensor:
        texts = self._texts(inputs)
        ids = texts["input_ids"]
        shift = getattr(self, "_shift_right", None)  # where the body does not do so itself
        hidden = self.base_model(**texts, **({} if shift is None else {"decoder_input_ids": shift(ids)}))[0]
        places = torch.arange(ids.shape[1], device=ids.device)
        last = (places * (ids == self.config.eos_token_id)).argmax(-1)
        return self.classification_head(hidden[torch.arange(len(ids), device=ids.device), last])


@cache
def _with_logits(kind: type, *, at_the_end: bool) -> type:
    mixed = _LogitsAtTheEnd if at_the_end else _LogitsOfOneInput
    return type(kind.__name__, (mixed, kind), {"__module__": kind.__module__})


def class_of(name: str) -> Any:
    """A class of the installed `transformers` by its name.

    Raises StarcliError where the package is missing, has no such class, or the class is for another task.
    """
    if find_spec("transformers") is None:
        raise StarcliError(f"architecture hf:{name} needs the package transformers", ["pip install 'starcli[hf]'"])
    kind = any_class(name) if task_of(name).known else None
    if kind is None:
        version = import_module("transformers").__version__
        hint = "read are its classifiers of images and texts, causal and masked models; code of others is never run"
        raise StarcliError(f"architecture hf:{name}: transformers {version} has no such class", [hint])
    return kind


def any_class(name: str) -> Any:
    """A class of networks of the installed `transformers`, whatever it is for; None where it has none of that name."""
    transformers = import_module("transformers")
    kind = getattr(transformers, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel) else None


def config_of(name: str, arguments: Mapping[str, Any]) -> Any:
    """The config of a class from what is said of the network. StarcliError for what it does not admit."""
    kind = class_of(name)
    if arguments.get("quantization_config"):
        raise StarcliError(f"architecture hf:{name}: its weights are quantised, which is not supported")
    try:
        config = kind.config_class(**arguments)
    except Exception as error:  # checks of the package's own, of all types
        raise StarcliError(f"architecture hf:{name}: its config is refused", [first_line(error)]) from error
    layers = getattr(config, "num_hidden_layers", None)
    if isinstance(layers, int) and layers > MOST_LAYERS:
        raise StarcliError(f"architecture hf:{name}: {layers:,} layers, at most {MOST_LAYERS:,} are built")
    config.use_cache = False
    config._attn_implementation = _PLAINLY
    setattr(config, _EXPERTS, _PLAINLY)
    return config


@contextlib.contextmanager
def experts_without_loops(network: nn.Module) -> Iterator[None]:
    """Mixtures of experts of `transformers` that go through experts one by one compute without such a loop meanwhile.

    Which experts a loop finds, the input tells: torch.export cannot follow it.
    """
    found = [getattr(module, "config", None) for module in network.modules()]
    configs = {id(config): config for config in found if getattr(config, _EXPERTS, None) == _PLAINLY}
    for config in configs.values():
        setattr(config, _EXPERTS, _WITHOUT_LOOPS)
    try:
        yield
    finally:
        for config in configs.values():
            setattr(config, _EXPERTS, _PLAINLY)


def config_file(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the config.json of a network."""
    return {"architectures": [name], "model_type": class_of(name).config_class.model_type, **arguments}


def least_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that differ from the defaults of the class, so that two versions of the package say the same."""
    own, usual = (
        network_arguments(json.loads(json.dumps(config.to_dict(), default=str)))
        for config in (config_of(name, arguments), config_of(name, {}))
    )
    return {key: own[key] for key in sorted(own) if key not in usual or own[key] != usual[key]}


def class_outline(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network of a class on the meta device, for its names and shapes: the same one for the same arguments."""
    return _class_outline(name, json.dumps(arguments, sort_keys=True))


@cache
def _class_outline(name: str, arguments: str) -> nn.Module:
    with torch.device("meta"):
        return huggingface_network(name, json.loads(arguments))


def names_in_class(name: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Names in the state dict of a class."""
    return frozenset(class_outline(name, arguments).state_dict())


def end_of_texts(network: nn.Module) -> int | None:
    """The token at the last one of which a network reads a text, so that each must have one; None of other networks."""
    return int(network.config.eos_token_id) if isinstance(network, _LogitsAtTheEnd) else None


def turned_modules(name: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Names of the modules of a class whose weights are (inputs, outputs), as GPT-2's are."""
    kind = import_module("transformers.pytorch_utils").Conv1D
    modules = class_outline(name, arguments).named_modules()
    return frozenset(each for each, module in modules if isinstance(module, kind))


def huggingface_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network of a class, its weights drawn anew. Errors as of `class_of`."""
    kind, config = class_of(name), config_of(name, arguments)
    with quiet():
        network = kind(config)
    at_the_end = bool(getattr(config, "is_encoder_decoder", False)) and hasattr(network, _HEAD_AT_THE_END)
    network.__class__ = _with_logits(kind, at_the_end=at_the_end)
    assert isinstance(network, nn.Module)
    return network


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context in which `transformers` shows no bars and no warnings; what is wrong is told by us."""
    logging = import_module("transformers").utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def from_disk(name: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that `from_pretrained` makes of the tensors of a file, which may have other names.

    Raises StarcliError with what is missing, of another shape, or unknown to the class.
    """
    found = loosely_from_disk(name, arguments, tensors)
    lines = [f"{key}: missing" for key in found.missing]
    lines += [f"{key}: not in the network" for key in found.unexpected]
    lines += [f"{key}: of another shape" for key in found.mismatched]
    if lines:
        raise StarcliError(f"these weights do not fit {name}", first_of(lines, 12))
    return found.state


@dataclass(frozen=True)
class LooselyLoaded:
    """What `from_pretrained` makes of the tensors of a file that need not fit.

    state: the state dict of the class, any values in the place of what is `missing` or `mismatched` (of another shape).
    unexpected: names in the file of what the class does not have.
    """

    state: dict[str, Tensor]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unexpected: tuple[str, ...]


def loosely_from_disk(name: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LooselyLoaded:
    """The tensors of a file in a class that may have others. StarcliError for what the package itself refuses."""
    kind, config = class_of(name), config_of(name, arguments)
    wide = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors.values()) else torch.float32
    given = {key: tensor.clone() for key, tensor in tensors.items()}
    how = {"torch_dtype": wide, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with quiet(), generator_borrowed():
            network, found = kind.from_pretrained(None, config=config, state_dict=given, **how)
    except Exception as error:  # whatever the package raises
        raise StarcliError(f"these weights do not fit {name}", [first_line(error)]) from error
    types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    narrow = next(iter(types)) if len(types) == 1 else wide
    state = {
        key: tensor.detach().to(narrow) if tensor.is_floating_point() else tensor.detach()
        for key, tensor in network.state_dict().items()
    }

    def in_class(names: Iterable[str]) -> tuple[str, ...]:
        # older releases of transformers may leave out the name under which the class holds its body
        body = f"{kind.base_model_prefix}."
        return tuple(sorted(body + each if each not in state and body + each in state else each for each in names))

    mismatched = (each if isinstance(each, str) else each[0] for each in found["mismatched_keys"])
    unexpected = tuple(sorted(found["unexpected_keys"]))
    return LooselyLoaded(state, in_class(found["missing_keys"]), in_class(mismatched), unexpected)


def to_disk(name: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict as `save_pretrained` writes them: by their names on disk, tied ones once."""
    kind, config = class_of(name), config_of(name, arguments)
    with quiet(), generator_borrowed(), tempfile.TemporaryDirectory() as place:
        network = kind(config)
        network.load_state_dict({key: tensor.clone() for key, tensor in tensors.items()}, assign=True)
        network.tie_weights()
        network.save_pretrained(place, max_shard_size="1000000GB")
        return read_tensors(Path(place, "model.safetensors"))[1]
