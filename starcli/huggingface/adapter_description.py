"""What the folder of an adapter says of itself, by its config and the names and shapes of its tensors; needs no torch.

The package `peft` writes these folders.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.safetensors import Header, read_header
from starcli.files.shards import ADAPTER, is_adapter
from starcli.huggingface.directory import read_json

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

    base: the model that it is for, as its config names it. rank, alpha: as its config says them. ranks: all that its
    tensors have. modules: those whose weights it changes by products B A. whole: names of tensors that it holds as a
    whole, such as a new classifier. problem: why it cannot be applied to a base here, if it cannot.
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

    def to_json(self) -> dict[str, Any]:
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
    place = Path(path)
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


def why_not_applied(config: Mapping[str, Any], names: Mapping[str, object]) -> str | None:
    """Why an adapter with tensors of these names is no change s B A of its base's weights, or of another kind."""
    if config.get("peft_type") != "LORA" or not isinstance(config.get("lora_alpha"), int | float):
        return f"an adapter of kind {config.get('peft_type')}; read are those of LoRA"
    if other := [key for key in _UNKNOWN if config.get(key)]:
        return f"an adapter with {other[0]}, which is not known"
    if str(config.get("init_lora_weights")).lower().startswith(_OF_ANOTHER_BASE):
        return f"an adapter of {config['init_lora_weights']}, which changes its base first"
    factors = {f"{found[1]}.{found[2]}" for name in names if (found := FACTOR.fullmatch(name))}
    known = {f"{each}{end}" for each in factors for end in ("A", "B", "A.weight", "B.weight")}
    if strange := sorted(name for name in names if "lora_" in name and name not in known):
        return f"has {strange[0]}, which is not known"
    return None
