"""LoRA adapters, as the package `peft` writes them: low-rank changes of a model's weights."""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from starcli.errors import StarcliError, first_of
from starcli.files.safetensors import read_tensors
from starcli.huggingface.adapter_description import (
    FACTOR,
    IN_MODEL,
    adapter_config,
    name_of_up,
    weights_of_adapter,
    why_not_applied,
)
from starcli.huggingface.alphas import Alphas


@dataclass(frozen=True)
class Factors:
    """The change s B A of one weight: the module that it is of, the names of A and B in the file, s, A and B.

    A is (r, ...), B is (out, r, ...); those of a convolution have the kernel's axes: (r, in, h, w) and (out, r, 1, 1).
    """

    module: str
    names: tuple[str, str]
    scale: float
    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class Adapter:
    """An adapter: W + s B A in the place of some weights W (Hu et al. 2022, "LoRA", section 4.1), others replaced.

    s is alpha / r, or alpha / sqrt(r) (`use_rslora`), with the r rows of A.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def replaced(self) -> dict[str, Tensor]:
        """Tensors that are in the adapter as a whole, such as a new classifier, by their names in the model."""
        return {name.removeprefix(IN_MODEL): each for name, each in self.tensors.items() if "lora_" not in name}

    @cached_property
    def factors(self) -> list[Factors]:
        """All changes in factors."""
        found, alphas = [], Alphas(self.config["lora_alpha"], self.config.get("alpha_pattern") or {})
        for name, down in self.tensors.items():
            match = FACTOR.fullmatch(name)
            if match is None:
                continue
            other = name_of_up(name, match[2])
            module, rank = match["module"].removeprefix(IN_MODEL), len(down)
            scale = alphas.of(module) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)
            found.append(Factors(module, (name, other), scale, down, self.tensors[other]))
        return found

    def _changes(self, turned: Container[str] | None) -> Iterator[tuple[str, Tensor]]:
        """s B A in float64 by the name of the module, in the layout of its weight but for a convolution's kernel."""
        for each in self.factors:
            product = each.scale * each.up.double().flatten(1) @ each.down.double().flatten(1)
            said = self.config.get("fan_in_fan_out") if turned is None else each.module in turned
            yield each.module, product.T if "embedding" in each.names[0] or (said and each.down.dim() == 2) else product

    def apply(self, base: Mapping[str, Tensor], turned: Container[str] | None = None) -> dict[str, Tensor]:
        """The state dict `base` with the adapter in it, tensor by tensor in the type of `base`.

        turned: names of the modules whose weights are (inputs, outputs); None where they are not known: all or none, as
        `fan_in_fan_out` of the config says. Its package looks at the modules too, whatever the config says.
        Raises StarcliError with what the adapter changes and `base` does not have, or has in another shape.
        """
        found, problems = dict(base), []
        for module, change in self._changes(turned):
            name = f"{module}.weight"
            if name not in base:
                problems.append(f"{name}: not in the base")
                continue
            weight = base[name]
            if change.numel() != weight.numel() or (weight.dim() == 2 and change.shape != weight.shape):
                problems.append(f"{name}: change of shape {tuple(change.shape)}, the base has {tuple(weight.shape)}")
                continue
            found[name] = (weight.double() + change.reshape(weight.shape)).to(weight.dtype)
        for name, tensor in self.replaced.items():
            if name not in base or base[name].shape != tensor.shape:
                problems.append(f"{name}: not in the base, or of another shape")
            else:
                found[name] = tensor.to(base[name].dtype)
        if problems:
            raise StarcliError(f"{self.path}: is no adapter of this base", first_of(problems, 12))
        return found


def read_adapter(path: Path) -> Adapter:
    """The adapter in a directory. StarcliError where there is none, or one of another kind than LoRA.

    Weights in PyTorch's own format are not read.
    """
    config, tensors = adapter_config(path), read_tensors(weights_of_adapter(path))[1]
    if problem := why_not_applied(config, tensors):
        hint = "its own package can save it as one of the base (path_initial_model_for_weight_conversion)"
        raise StarcliError(f"{path}: {problem}", [hint] if "changes its base" in problem else [])
    if not all(torch.isfinite(each).all() for each in tensors.values()):
        raise StarcliError(f"{path}: has values that are not finite")
    return Adapter(path, config, tensors)
