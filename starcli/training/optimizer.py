"""Optimiser of a recipe, as one fused kernel over all parts of a network's vector."""

from collections.abc import Sequence

import torch
from torch import Tensor

from starcli import registry
from starcli.recipes.recipe import Recipe


def build_optimizer(recipe: Recipe, parts: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over `parts`, views of one vector; it reads each one's `grad`.

    Decay acts on every parameter, biases and normalisation included, as in the published recipes.
    """
    options: dict[str, object] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    else:
        options |= {"betas": recipe.betas}
    if parts[0].device.type in ("cpu", "cuda"):
        options["fused"] = True
    optimizer: torch.optim.Optimizer = registry.resolve(registry.OPTIMIZERS, "optimizer", recipe.optimizer)(
        list(parts), **options
    )
    return optimizer
