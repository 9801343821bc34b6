"""Description of an adapter by its config and the names and shapes of its tensors. Needs no torch.

The package `peft` writes these folders.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.errors import StarcliError
from starcli.files.names import as_path
from starcli.files.safetensors import Header, TensorInfo, read_header
from starcli.files.shards import ADAPTER, is_adapter
from starcli.huggingface.alphas import wrong_alphas
from starcli.huggingface.directory import directory_of, read_json

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "adapter_model.safetensors"
"""File of an adapter's tensors."""

PICKLED_WEIGHTS = "adapter_model.bin"
"""The same in PyTorch's own format, which is not read."""

IN_MODEL = "base_model.model."
"""Before the names that modules have in the model, in the names of an adapter's tensors."""

FACTOR = re.compile(r"(?P<module>.+)\.(lora_(?:embedding_)?)A(\.weight)?")
"""The name of an A."""

_UNKNOWN = ("use_dora", "use_qalora", "use_bdlora", "megatron_config", "layer_replication", "alora_invocation_tokens")
"""Settings of a config under which the change is another than s B A."""

_OF_ANOTHER_BASE = ("pissa", "olora", "corda", "loftq", "mica", "lora_ga")
"""Beginnings of `init_lora_weights` under which the package takes what A and B begin as away from the base first."""


@dataclass(frozen=True)
class AdapterDescription:
    """Config and header of an adapter.

    base: the model that it is for, as its config names it. ranks: all that its tensors have. modules: those whose
    weights it changes by products B A. whole: names of tensors that it holds as a whole, such as a new classifier.
    problem: why it cannot be applied to a base here, if it cannot.
    """

    path: Path
    config: Mapping[str, Any]
    header: Header

    @property
    def base(self) -> str | None:
        """See the class."""
        return self.config.get("base_model_name_or_path") or None

    @cached_property
    def _downs(self) -> dict[str, tuple[int, ...]]:
        """The shape of each A, (r, ...), by its module."""
        matches = ((FACTOR.fullmatch(name), info) for name, info in self.header.tensors.items())
        return {match["module"].removeprefix(IN_MODEL): info.shape for match, info in matches if match and info.shape}

    @property
    def modules(self) -> list[str]:
        """See the class."""
        return sorted(self._downs)

    @property
    def ranks(self) -> list[int]:
        """See the class."""
        return sorted({shape[0] for shape in self._downs.values()})

    @property
    def whole(self) -> list[str]:
        """See the class."""
        return sorted(name.removeprefix(IN_MODEL) for name in self.header.tensors if "lora_" not in name)

    @property
    def problem(self) -> str | None:
        """See the class."""
        return why_not_applied(self.config, self.header.tensors)

    def to_dict(self) -> dict[str, Any]:
        """Row of `inspect`."""
        config, tensors = self.config, self.header.tensors
        lora = config.get("peft_type") == "LORA"
        return {
            "file": self.path.absolute().name,
            "kind": "adapter",
            "method": config.get("peft_type"),
            "base": self.base,
            "rank": config.get("r"),
            "ranks": self.ranks,
            "alpha": config.get("lora_alpha"),
            "scaled_by": ("alpha / sqrt(rank)" if config.get("use_rslora") else "alpha / rank") if lora else None,
            "target_modules": config.get("target_modules"),
            "modules": self.modules,
            "whole": self.whole if lora else [],
            "tensors": len(tensors),
            "parameters": sum(math.prod(info.shape) for info in tensors.values()),
            "problem": self.problem,
            "verified": None,
        }


def describe_adapter(path: str | os.PathLike[str]) -> AdapterDescription:
    """Read config and header of the adapter in a folder: which base it is for, its ranks, what it changes.

    Raises StarcliError where there is none, or its tensors cannot be read.

    >>> import starcli as sc
    >>> sc.describe_adapter("adapter_a").base  # doctest: +SKIP
    'gpt_a'
    """
    place = as_path(path)
    return AdapterDescription(place, adapter_config(place), read_header(weights_of_adapter(place)))


def adapter_place(path: Path) -> Path | None:
    """The folder of the adapter that `path` is, or whose tensors it is; None where it is something else."""
    if path.name == WEIGHTS and (path.parent / ADAPTER).is_file():
        return path.parent
    return path if is_adapter(path) else None


def adapter_config(place: Path) -> Mapping[str, Any]:
    """The config of the adapter in a folder. StarcliError where there is none."""
    config = read_json(place / ADAPTER)
    if not config:
        raise StarcliError(f"{place}: holds no adapter ({ADAPTER}) that a base could take")
    return config


def weights_of_adapter(place: Path) -> Path:
    """The file of an adapter's tensors. StarcliError where there are some in PyTorch's own format alone."""
    if (place / PICKLED_WEIGHTS).is_file() and not (place / WEIGHTS).exists():
        hint = "its own package writes them so: PeftModel.save_pretrained(DIR, safe_serialization=True)"
        raise StarcliError(f"{place}: its tensors are in {PICKLED_WEIGHTS}, expected {WEIGHTS}", [hint])
    return place / WEIGHTS


def other_base(named: str, base: Path) -> bool:
    """Whether an adapter that names its base so is for another model than the one at `base`, as far as names tell.

    A name that is a path to something is that; any other, as those of the hub are, ends with the name of a folder.

    >>> other_base("org/gpt", Path("models/gpt")), other_base("org/gpt", Path("models/bert"))
    (False, True)
    """
    directory = directory_of(base)
    place = base if directory is None else directory.path
    if os.path.exists(named):
        return not place.samefile(named)
    known, ways = Path(named).name, (place.absolute(), place.resolve())
    in_cache = f"models--{named.replace('/', '--')}"  # the folder that the hub's cache has it in
    names = {name for way in ways for name in (way.name, *([] if way.is_dir() else [way.stem]))}
    return known not in names and not any(in_cache in way.parts for way in ways)


def why_not_applied(config: Mapping[str, Any], tensors: Mapping[str, "TensorInfo | Tensor"]) -> str | None:
    """Why an adapter of these tensors is no change s B A of its base's weights, or of another kind."""
    if config.get("peft_type") != "LORA":
        return f"an adapter of kind {config.get('peft_type')}; read are those of LoRA"
    if wrong := wrong_alphas(config):
        return wrong
    if other := [key for key in _UNKNOWN if config.get(key)]:
        return f"an adapter with {other[0]}, which is not known"
    if str(config.get("init_lora_weights")).lower().startswith(_OF_ANOTHER_BASE):
        return f"an adapter of {config['init_lora_weights']}, which changes its base first"
    pairs = {name: name_of_up(name, found[2]) for name in tensors if (found := FACTOR.fullmatch(name))}
    known = {*pairs, *pairs.values()}
    if strange := sorted(name for name in tensors if "lora_" in name and name not in known):
        return f"has {strange[0]}, which is not known"
    return next(filter(None, (_misfit(down, up, tensors) for down, up in pairs.items())), None)


def name_of_up(down: str, kind: str) -> str:
    """Name of the B beside an A of this name; `kind` is the second group of `FACTOR`.

    >>> name_of_up("q.lora_A.weight", "lora_")
    'q.lora_B.weight'
    """
    return down.replace(f"{kind}A", f"{kind}B")


def _misfit(down: str, up: str, tensors: Mapping[str, "TensorInfo | Tensor"]) -> str | None:
    """Why an A and its B, by their names, have no product; None where they have."""
    if up not in tensors:
        return f"{down} has no B beside its A"
    one, other = tuple(tensors[down].shape), tuple(tensors[up].shape)
    if len(one) < 2 or len(other) < 2 or not one[0] == other[1] > 0:
        return f"{down} of shape {one} and a B of shape {other}, expected (r, ...) and (out, r, ...)"
    return None
