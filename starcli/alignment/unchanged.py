"""Check on a checkpoint itself that other weights compute the same function."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.models.state_dicts import computable
from starcli.symmetry.proof.evaluation import ProofNetwork, difference, spreads
from starcli.symmetry.proof.redraw import fresh_inputs
from starcli.symmetry.symmetries import Symmetry, permutes_alone

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

LEAST_CHANGE = 1e-9
"""Largest change of an output, in units of its spread over inputs, that arithmetic in float64 may make."""
ROUNDINGS = 10
"""Largest change by the rounding of weights, in units of what rounding the model's own weights anew changes.

0.1 to 3 are usual (ViT, GPT, BERT and VGG, aligned or under random elements; float64, float32, float16, bfloat16)."""
ROUNDED_ANEW = 16
"""Times that the model's own weights are rounded anew at most, of which the largest change counts.

Of networks with few outputs one change is by chance a tenth of the usual one, or less."""


class RoundsTooMuch(StarcliError):
    """The symmetry leaves the function unchanged, but rounding to the tensors' types does not."""


def check_acted(
    workspace: "Workspace", symmetry: Symmetry, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> float | None:
    """Largest change of an output by the rounding of weights, in units of its spread over random inputs.

    None for a permutation: it rounds nothing, and is proved. All is evaluated in float64 and in eval mode. Acting in
    float64 on the weights in float64 has to leave the function as it is; `after`, rounded to the types of the tensors,
    may change it as much as those types explain (`ROUNDINGS`); else it is RoundsTooMuch. StarcliError where acting in
    float64 changes it, and where values are too large.
    """
    if permutes_alone(symmetry):
        return None
    if lost := [name for name, tensor in after.items() if _is_finite(before[name]) and not _is_finite(tensor)]:
        raise StarcliError("some values would be too large for the type of their tensor", lost)
    model, own = _Function(workspace, before), {name: _in_float64(tensor) for name, tensor in before.items()}
    _refuse(model.change(symmetry.apply(own)), LEAST_CHANGE, "in float64")
    change, allowed = model.change(after), LEAST_CHANGE
    for seed in range(ROUNDED_ANEW):
        if change <= allowed:  # as a rule after the first
            break
        allowed = max(allowed, ROUNDINGS * model.change(_rounded_anew(before, seed)))
    _refuse(change, allowed, "rounding of the weights", RoundsTooMuch)
    return change


def _refuse(change: float, allowed: float, by: str, error: type[StarcliError] = StarcliError) -> None:
    """An error for a change that is larger than allowed."""
    if not change <= allowed:
        why = f"outputs change by {change:.2e} of their spread, and {by} by less than {allowed:.2e}"
        raise error("the function would not stay the same", [why])


class _Function:
    """What a model computes on random inputs, in float64."""

    def __init__(self, workspace: "Workspace", tensors: Mapping[str, Tensor]) -> None:
        network = workspace.network(dtype=torch.float64).network
        generator, example = torch.Generator().manual_seed(0), (workspace.example(),)
        self.inputs, others = (fresh_inputs(network, example, generator) for _ in range(2))
        self.subject = ProofNetwork(network, tensors, torch.float64)
        self.outputs = self.subject.run(self.inputs)
        self.spreads = spreads(self.outputs, self.subject.run(others))

    def change(self, tensors: Mapping[str, Tensor]) -> float:
        """Largest change of an output under other weights, in units of its spread."""
        self.subject.load(tensors.items())
        return difference(self.outputs, self.subject.run(self.inputs), self.spreads)


def _rounded_anew(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The tensors in float64, each value moved at random by at most half a unit in its type's last place."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name, tensor in tensors.items():
        found[name] = own = _in_float64(tensor)
        if tensor.is_floating_point():
            away = torch.rand(own.shape, generator=generator, dtype=own.dtype) - 0.5
            found[name] = own * (1 + torch.finfo(tensor.dtype).eps * away)
    return found


def _in_float64(tensor: Tensor) -> Tensor:
    """A floating tensor in float64 on the CPU, others as they are."""
    return computable(tensor).detach().cpu().double() if tensor.is_floating_point() else tensor


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are."""
    return bool(computable(tensor).isfinite().all())


def act_on(
    workspace: "Workspace", symmetry: Symmetry, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], float | None]:
    """`tensors` after a permutation or other element, and the change of outputs, as of `check_acted`."""
    found = symmetry.apply(tensors)
    return found, check_acted(workspace, symmetry, tensors, found)
