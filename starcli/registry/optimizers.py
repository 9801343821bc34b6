"""Optimisers by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

OPTIMIZERS: Mapping[str, Entry] = {
    "sgd": Entry("torch.optim:SGD", "stochastic gradient descent with momentum"),
    "adam": Entry("torch.optim:Adam", "Adam"),
    "adamw": Entry("torch.optim:AdamW", "Adam with decoupled weight decay"),
}
"""`--optimizer`: optimisers of torch; `training.optimizer.build_optimizer` passes them the recipe's options."""
