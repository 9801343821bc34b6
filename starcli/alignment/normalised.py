"""A model brought to its normal form, and the check on itself that it computes the same function."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.objective import inner_product
from starcli.alignment.unchanged import act_on
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import near_zero_scales, normal_element

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Normalised:
    """The normal form of a model, and the element that leads there.

    norm_before, norm_after: L2 norm over the learnable parameters, tied ones once. difference: largest change of an
    output, in units of its spread over random inputs, in float64.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    element: Element
    norm_before: float
    norm_after: float
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as `starcli align --normal-form` shows them: `dimension` is that of all continuous symmetries."""
        return {
            "dimension": self.element.kinds.continuous_dimension,
            "norm_before": self.norm_before,
            "norm_after": self.norm_after,
            "difference": self.difference,
        }


def normalise(workspace: "Workspace", tensors: Mapping[str, Tensor], *, progress: Progress = SILENT) -> Normalised:
    """Bring a state dict to its normal form (see `normal_element`) under the proved kinds of the workspace's network.

    StarcliError where its function would change by more than rounding, seen on the model itself.
    """
    kinds = workspace.kinds
    for note in kinds.notes:
        progress.note(note)
    if not kinds.continuous_dimension:
        progress.note("nothing but permutations and signs acts on this network: a model is its own normal form")
    element = normal_element(kinds, tensors)
    made, difference = act_on(workspace, element, tensors)
    before, after = (math.sqrt(inner_product(kinds.spec, each, each)) for each in (tensors, made))
    return Normalised(made, element, before, after, difference or 0.0)


def note_near_zero(kinds: Kinds, reference: Checkpoint, progress: Progress) -> None:
    """A note where norms of a reference have scales to which no other model can be brought."""
    if found := near_zero_scales(kinds, reference.tensors):
        where = ", ".join(f"{count} of {name}" for name, count in found.items())
        progress.note(
            f"{reference.name}: scales of norms near zero, which models aligned to it do not take over: {where}"
        )
