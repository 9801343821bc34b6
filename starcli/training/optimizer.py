"""One optimiser step for a whole network: its parameters are one vector, so the update is one fused kernel."""

import torch
from torch import Tensor

from starcli import registry
from starcli.training.recipe import Recipe


def build_optimizer(recipe: Recipe, vector: Tensor, gradient: Tensor) -> torch.optim.Optimizer:
    """The recipe's optimiser over `vector` (P,), which reads `gradient` (P,) where it lies.

    Decay acts on every parameter, biases and normalisation included, as in the published recipes.
    """
    vector.grad = gradient
    options: dict[str, object] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    else:
        options |= {"betas": recipe.betas}
    if vector.device.type in ("cpu", "cuda"):
        options["fused"] = True
    optimizer: torch.optim.Optimizer = registry.resolve(registry.OPTIMIZERS, "optimizer", recipe.optimizer)(
        [vector], **options
    )
    return optimizer


def clip_(gradient: Tensor, largest: float) -> None:
    """Scale `gradient` by largest / |gradient| where its L2 norm is above `largest`; 0 leaves it alone.

    Without asking for the norm's value, which on a GPU would wait for it.  Pascanu et al. 2013.
    """
    if largest > 0:
        norm = torch.linalg.vector_norm(gradient)
        gradient.mul_((largest / norm).clamp(max=1.0))
