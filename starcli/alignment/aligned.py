"""A model aligned to a reference: how, what came out, and its figures."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.method import Match
from starcli.alignment.matching.weight_matching import distances
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import AlignedTo
from starcli.symmetry.permutation import Permutation


@dataclass(frozen=True)
class Aligned:
    """`model` aligned to `reference`: how it was matched, and the distances before and after.

    Distances are L2 norms and cosines over the learnable parameters, tied ones once.
    """

    reference: Checkpoint
    model: Checkpoint
    match: Match
    alignment: Alignment
    joint: int | None = None
    """Number of models that were aligned together, where this was one of several."""

    @property
    def permutation(self) -> Permutation:
        """The permutation of units that was applied to the model, of an element its own."""
        return self.match.permutation

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The model with other weights: the same function."""
        return self.match.symmetry.apply(self.model.tensors)

    @property
    def record(self) -> AlignedTo:
        """The alignment as a checkpoint records it."""
        found = self.alignment.record(self.reference.sha256, self.match.objective)
        return found.model_copy(update={"joint": self.joint})

    @property
    def _how(self) -> dict[str, Any]:
        return self.alignment.facts([(self.reference, self.model)])

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The figures of one alignment, as `starcli align` shows them, but for the output and the seconds."""
        spec = self.permutation.spec
        before, cosine_before = distances(self.reference.tensors, self.model.tensors, spec)
        after, cosine_after = distances(self.reference.tensors, self.tensors, spec)
        return {
            "reference": self.reference.name,
            "model": self.model.name,
            "method": self.alignment.method,
            **self._how,
            "restarts": self.match.restarts,
            "distance_before": before,
            "distance_after": after,
            "cosine_before": cosine_before,
            "cosine_after": cosine_after,
            "objective": self.match.objective,
            "sweeps": self.match.sweeps,
            "moved": self.match.moved,
            **({} if self.match.midpoint_loss is None else {"midpoint_loss": self.match.midpoint_loss}),
            **({} if self.joint is None else {"joint": self.joint}),
            **({} if self.match.difference is None else {"difference": self.match.difference}),
        }

    def recorded(self) -> dict[str, float | int | str | None]:
        """The figures as a file keeps them: with base names, for where the models lay is of no matter there.

        How the model was aligned stands in `record`.
        """
        figures = {name: value for name, value in self.to_dict().items() if name not in self._how}
        return {**figures, "reference": self.reference.base_name, "model": self.model.base_name}
