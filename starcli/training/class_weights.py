"""Class weights: how much an example of each class counts in the loss that training minimises.

    loss of a batch = sum_n w[y_n] l_n / sum_n w[y_n],        l_n the cross-entropy of example n with its label y_n

as `torch.nn.CrossEntropyLoss(weight=w)` has it, label smoothing included. What is measured stays unweighted.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from starcli.data.dataset import Dataset
from starcli.data.splits import Split
from starcli.errors import StarcliError, number_of
from starcli.recipes.recipe import BALANCED_CLASSES, Recipe
from starcli.registry.tasks import CLASSES
from starcli.runtime.progress import Progress


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights n / (K n_c) of `classes` by labels (n,) int64, of which n_c are c and K classes occur; float64.

    Those of scikit-learn's `class_weight="balanced"`: all examples together weigh n, and each class as much as any
    other. A class that does not occur has weight 1.

    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000], dtype=torch.float64)
    """
    counts = torch.bincount(labels, minlength=classes).double()
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp(min=1)), torch.ones_like(counts))


def class_weights_of(recipe: Recipe, dataset: Dataset) -> Tensor | None:
    """The recipe's weights (classes,), float64, for a data set; None where it has none.

    Balanced ones are by the labels of the training split. Raises StarcliError for another number of weights than
    classes, and for data of other tasks.
    """
    if recipe.class_weights is None:
        return None
    if dataset.task != CLASSES:
        raise StarcliError(f"--class-weights is for classes of examples, and the task is {dataset.task}")
    weights = _said_weights(recipe.class_weights, dataset.train.labels, dataset.num_classes)
    if len(weights) != dataset.num_classes:
        found = number_of(len(weights), "weight")
        problem = f"--class-weights: {found}, and {dataset.name} has {dataset.num_classes} classes"
        raise StarcliError(problem, ["one weight for each class, in the order of the labels; or balanced"])
    return weights


def example_masses(recipe: Recipe, split: Split) -> Tensor | None:
    """How much each example of a split counts in the mean loss of a batch; None where all count alike.

    Of tokens that is how many it has, (n,) int64, of class weights that of its class, float64.
    """
    if split.per_token:
        return (split.labels >= 0).sum(1)
    if recipe.class_weights is None:
        return None
    return _said_weights(recipe.class_weights, split.labels)[split.labels]


def _said_weights(said: Any, labels: Tensor, classes: int = 1) -> Tensor:
    """Weights as a recipe says them; balanced ones of at least `classes`."""
    return balanced_weights(labels, classes) if said == BALANCED_CLASSES else torch.tensor(said, dtype=torch.float64)


def note_class_weights(recipe: Recipe, dataset: Dataset, progress: Progress) -> None:
    """A note on what weighs least and most in training. Raises StarcliError as `class_weights_of`."""
    weights = class_weights_of(recipe, dataset)
    if weights is None:
        return
    names = dataset.class_names or tuple(map(str, range(len(weights))))
    least, most = int(np.argmin(weights.numpy())), int(np.argmax(weights.numpy()))
    span = f"{weights[least]:.3g} ({names[least]}) to {weights[most]:.3g} ({names[most]})"
    how = "balanced " if recipe.class_weights == BALANCED_CLASSES else ""
    progress.note(f"training weighs classes: {how}{span}; what is measured is not weighted")
