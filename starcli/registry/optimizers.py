"""Optimisers by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from starcli.registry.entry import RecipeEntry


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry(RecipeEntry):
    """An optimiser of torch, and its learning rate where neither recipe nor flag gives one."""

    rate: float


OPTIMIZERS: Mapping[str, OptimizerEntry] = {
    "sgd": OptimizerEntry(
        "torch.optim:SGD", "stochastic gradient descent with momentum", rate=0.1, reads=("momentum", "nesterov")
    ),
    "adam": OptimizerEntry("torch.optim:Adam", "Adam", rate=1e-3, reads=("betas",)),
    "adamw": OptimizerEntry("torch.optim:AdamW", "Adam with decoupled weight decay", rate=1e-3, reads=("betas",)),
}
"""`--optimizer`: `training.optimizer.build_optimizer` passes them the rate, the weight decay, and what they read."""
