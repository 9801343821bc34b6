"""Optimiser of a recipe, as one fused kernel over all parts of a network's vector."""

from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer

from starcli.recipes.recipe import Recipe
from starcli.registry.entry import resolve
from starcli.registry.optimizers import OPTIMIZERS
from starcli.runtime.without_compiler import without_compiler


def build_optimizer(recipe: Recipe, parts: Sequence[Tensor]) -> Optimizer:
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
    return without_compiler(resolve(OPTIMIZERS, "optimizer", recipe.optimizer))(list(parts), **options)
