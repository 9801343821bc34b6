"""Files of permutations that permute nothing, or something else, and of elements that do no better."""

from collections.abc import Callable, Mapping

import torch
from safetensors.torch import save

from starcli.checkpoints.metadata import Metadata


def _written(**changed: torch.Tensor) -> bytes:
    groups = {"a": torch.arange(4), "b": torch.arange(6), **changed}
    return save(groups, {"starcli": Metadata(kind="permutation").to_text()})


PERMUTATIONS: Mapping[str, Callable[[], bytes]] = {
    "a group missing": lambda: save({"a": torch.arange(4)}, {"starcli": Metadata(kind="permutation").to_text()}),
    "a group too many": lambda: _written(c=torch.arange(2)),
    "a unit twice": lambda: _written(a=torch.tensor([0, 1, 1, 3])),
    "out of range": lambda: _written(a=torch.tensor([0, 1, 2, 2**62])),
    "negative": lambda: _written(a=torch.tensor([0, 1, 2, -1])),
    "floats": lambda: _written(a=torch.arange(4.0)),
    "another length": lambda: _written(a=torch.arange(5)),
    "a scalar": lambda: _written(a=torch.tensor(0)),
    "a matrix": lambda: _written(a=torch.arange(4).reshape(2, 2)),
    "empty": lambda: _written(a=torch.arange(0)),
}


def element(**changed: torch.Tensor) -> bytes:
    """A file of an element, sound where nothing is changed; `rest__group` in the place of `rest:group`."""
    index = {"a": torch.arange(4), "b": torch.arange(6)}
    parts = {"matrix:a": torch.eye(4).double(), "scales:b": torch.ones(1, 6).double()}
    named = {name.replace("__", ":"): tensor for name, tensor in changed.items()}
    return save({**index, **parts, **named}, {"starcli": Metadata(kind="element").to_text()})


ELEMENTS: Mapping[str, Callable[[], bytes]] = {
    "a permutation missing": lambda: save({}, {"starcli": Metadata(kind="element").to_text()}),
    "a part that there is not": lambda: element(shears__a=torch.eye(4)),
    "a group that there is not": lambda: element(matrix__c=torch.eye(4)),
    "a matrix of what is scaled": lambda: element(matrix__b=torch.eye(6)),
    "a tensor that is no kept scale": lambda: element(frame__w=torch.ones(4)),
    "another shape": lambda: element(matrix__a=torch.eye(3)),
    "integers": lambda: element(matrix__a=torch.eye(4).long()),
    "no numbers": lambda: element(matrix__a=torch.full((4, 4), torch.nan)),
    "a matrix that is not orthogonal": lambda: element(matrix__a=2 * torch.eye(4)),
    "a scale of 0": lambda: element(scales__b=torch.zeros(1, 6)),
    "a negative scale": lambda: element(scales__b=-torch.ones(1, 6)),
    "an infinite scale": lambda: element(scales__b=torch.full((1, 6), torch.inf)),
    "no scale": lambda: element(scales__b=torch.ones(0, 6)),
}
