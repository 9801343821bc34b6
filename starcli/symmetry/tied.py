"""Tied tensors: one of a network under several names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.models.state_dicts import computable
from starcli.symmetry.archspec.resolved import Resolved


def check_tied(spec: Resolved, tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise StarcliError with every pair of tied tensors of `what` whose values differ.

    A network that shares them would take the values of one of the two.
    """
    seen = spec.seen(tensors)
    problems = [
        f"{name} and {names[0]} are tied, but differ by up to {_largest(seen[name], seen[names[0]]):.3g}"
        for names in spec.tied
        for name in names[1:]
        if not torch.equal(computable(seen[name]), computable(seen[names[0]]))
    ]
    if problems:
        raise StarcliError(f"{what} has tied tensors that are unequal", problems)


def _largest(one: Tensor, other: Tensor) -> float:
    """Largest difference of two tensors, in float64."""
    return float((one.double() - other.double()).abs().max())
