"""Optimiser of a recipe, as one fused kernel over all parts of a network's vector."""

import inspect
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.optim import Optimizer

from starcli.recipes.recipe import Recipe
from starcli.registry.entry import resolve
from starcli.registry.optimizers import OPTIMIZERS


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


@cache
def without_compiler(optimizer: type[Optimizer]) -> Callable[..., Optimizer]:
    """The same class of torch.optim, with methods that torch's compiler has not marked.

    The marks load the compiler where a method is called first, which takes about a second.

    >>> parameter = torch.ones(2, requires_grad=True)
    >>> (3 * parameter).sum().backward()
    >>> without_compiler(torch.optim.SGD)([parameter], lr=0.1).step()
    >>> parameter.detach()
    tensor([0.7000, 0.7000])
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), methods)
