"""Permutation files that permute nothing, or something else."""

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
