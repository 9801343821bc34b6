"""The lines between all pairs of models: their matrix, and the share of stars among the models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.measure import Measure
from starcli.barriers.cached import cached_pairs
from starcli.barriers.described import Describer
from starcli.barriers.intervals import BarrierGroup, group_of
from starcli.barriers.line_barrier import Barrier
from starcli.barriers.pairs import Pair, matrix, pairs_of, star_share
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import number_of, unknown
from starcli.evaluation.result_table import Framed, frame_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class PairsReport(Framed):
    """The lines between all pairs of models."""

    names: Sequence[str]
    pairs: Sequence[Pair]
    barriers: Sequence[Barrier]
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What a result says beside, as of `Barrier`."""

    def __repr__(self) -> str:
        """The mean barriers in one line."""
        values = {split: [each.curves[split].loss_barrier for each in self.barriers] for split in self.splits}
        found = ", ".join(f"{split} {fmean(each):.4g}" for split, each in values.items())
        return f"PairsReport({number_of(len(self.pairs), 'pair')} of {len(self.names)} models, mean barrier {found})"

    @property
    def group(self) -> BarrierGroup:
        """All lines as one group."""
        return replace(group_of(self.pairs, self.barriers, [range(len(self.names))]), about=self.about)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that were measured on."""
        return tuple(self.barriers[0].curves)

    def matrix(self, split: str = "train") -> Tensor:
        """Loss barriers (n, n) in nats, float64, symmetric, 0 on the diagonal. split: one that was measured on."""
        if split not in self.splits:
            raise unknown("split", str(split), self.splits)
        values = [barrier.curves[split].loss_barrier for barrier in self.barriers]
        return matrix(len(self.names), self.pairs, values)

    def star_share(self, epsilon: float, split: str = "train") -> float:
        """The share of models whose barriers to all others are below `epsilon` nats."""
        return star_share(self.matrix(split), epsilon)

    def to_dict(self) -> dict[str, Any]:
        """The summary of the barriers, as of `BarrierGroup`, `models`, and by split the `matrix` of loss barriers."""
        matrices = {split: self.matrix(split).tolist() for split in self.splits}
        return {**self.group.to_dict(), "models": list(self.names), "matrix": matrices}

    def to_frame(self) -> "DataFrame":
        """A pandas table with a line for each pair and split: `a`, `b`, `split`, and the barriers.

        Of the loss it is `loss_barrier`, of the metrics `accuracy_barrier` and the like.
        """
        return frame_of(
            {
                "a": self.names[i],
                "b": self.names[j],
                "split": split,
                "loss_barrier": curve.loss_barrier,
                **{f"{name}_barrier": value for name, value in curve.barriers.items()},
            }
            for (i, j), each in zip(self.pairs, self.barriers, strict=True)
            for split, curve in each.curves.items()
        )


def measure_all_pairs(measure: Measure, models: Sequence[Checkpoint]) -> PairsReport:
    """Measure the lines between all pairs of `models`, or recall them."""
    pairs = pairs_of(len(models))
    report = PairsReport([model.name for model in models], pairs, cached_pairs(measure, models, pairs))
    return replace(report, about=Describer(measure).group("all pairs", report.group, models).about)
