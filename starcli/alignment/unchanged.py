"""Check on a checkpoint itself that other weights compute the same function."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.models.state_dicts import computable
from starcli.symmetry.element import Symmetry, permutes_alone
from starcli.symmetry.proof.evaluation import ProofNetwork, difference, spreads
from starcli.symmetry.proof.redraw import fresh_inputs

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

LARGEST_CHANGE = 1e-5
"""Largest change of an output, in units of its spread over inputs, that weights rounded to float32 may make.

In proportion to the rounding of other types, but never below `LEAST_CHANGE`."""
LEAST_CHANGE = 1e-9
"""The same for float64, in which rounding adds up within the network."""


def check_unchanged(workspace: "Workspace", before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Largest change of an output between two state dicts, in units of its spread over random inputs.

    Both are evaluated in float64 and in eval mode, so that what remains is the rounding of the weights themselves.
    StarcliError where the change is larger than rounding to their type makes, or values are too large for it.
    """
    if lost := [name for name, tensor in after.items() if _is_finite(before[name]) and not _is_finite(tensor)]:
        raise StarcliError("some values would be too large for the type of their tensor", lost)
    network = workspace.network(dtype=torch.float64).network
    generator, example = torch.Generator().manual_seed(0), (workspace.example(),)
    inputs, others = (fresh_inputs(network, example, generator) for _ in range(2))
    subject = ProofNetwork(network, before, torch.float64)
    first, other = subject.run(inputs), subject.run(others)
    subject.load(after.items())
    change = difference(first, subject.run(inputs), spreads(first, other))
    if not change <= (allowed := largest_change(after)):
        raise StarcliError(
            "the function would not stay the same, so nothing was written",
            [f"outputs change by {change:.1e} of their spread, and rounding by less than {allowed:.0e}"],
        )
    return change


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are."""
    return bool(computable(tensor).isfinite().all())


def largest_change(tensors: Mapping[str, Tensor]) -> float:
    """Largest change of an output that the rounding of these tensors may make, in units of its spread.

    >>> largest_change({"weight": torch.zeros(2)}), largest_change({"weight": torch.zeros(2, dtype=torch.float64)})
    (1e-05, 1e-09)
    """
    rounding = max((torch.finfo(t.dtype).eps for t in tensors.values() if t.is_floating_point()), default=0.0)
    return max(LEAST_CHANGE, LARGEST_CHANGE * rounding / torch.finfo(torch.float32).eps)


def act_on(
    workspace: "Workspace", symmetry: Symmetry, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], float | None]:
    """`tensors` after a permutation or other element, and the change of outputs, as of `check_acted`."""
    found = symmetry.apply(tensors)
    return found, check_acted(workspace, symmetry, tensors, found)


def check_acted(
    workspace: "Workspace", symmetry: Symmetry, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> float | None:
    """`check_unchanged` where more than a permutation acted; None for that: it rounds nothing, and is proved."""
    return None if permutes_alone(symmetry) else check_unchanged(workspace, before, after)
