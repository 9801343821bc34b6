"""Optimiser of a recipe, as one fused kernel over all parts of a network's vector."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from starcli.recipes.recipe import Recipe
from starcli.registry.entry import resolve
from starcli.registry.optimizers import OPTIMIZERS

MARKED = ("add_param_group", "state_dict", "load_state_dict", "step")
"""Methods that torch marks for its compiler: the first call of one loads that, which takes about a second."""


def build_optimizer(recipe: Recipe, parts: Sequence[Tensor]) -> Optimizer:
    """Build the recipe's optimiser over `parts`, views of one vector; it reads each one's `grad`.

    It is torch's, without the marks of its methods. Decay acts on every parameter, biases and normalisation included,
    as in the published recipes.
    """
    torchs: type[Optimizer] = resolve(OPTIMIZERS, "optimizer", recipe.optimizer)
    options: dict[str, object] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
    options |= {name: getattr(recipe, name) for name in OPTIMIZERS[recipe.optimizer].reads}
    if parts[0].device.type in ("cpu", "cuda") and "fused" in inspect.signature(torchs).parameters:
        options["fused"] = True
    methods = {name: inspect.unwrap(getattr(torchs, name)) for name in MARKED}
    unmarked = type(torchs.__name__, (torchs,), methods | {"step": torch.no_grad()(methods["step"])})
    built: Optimizer = unmarked(list(parts), **options)
    if options.get("momentum"):
        built.register_step_pre_hook(_begin_momenta)
    return built


def _begin_momenta(optimizer: Optimizer, *_: Any) -> None:
    """Give all parts a momentum of 0 at the first step: torch's fused kernel wants one of all parts or of none.

    Not all have their first gradient then: an expert has none to which no example of the first batches was sent.
    """
    for group in optimizer.param_groups:
        for part in group["params"]:
            if "momentum_buffer" not in optimizer.state[part]:
                optimizer.state[part]["momentum_buffer"] = torch.zeros_like(part)
