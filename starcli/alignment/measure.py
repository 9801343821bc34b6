"""How barriers, averages and planes are measured, which all align models first: the same for all of one command."""

from dataclasses import asdict, dataclass
from typing import Any

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.cached import match_settings
from starcli.errors import unknown
from starcli.evaluation.evaluator import Evaluator, Statistics
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.rows import note_repeats, note_statistics
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.workspace import Workspace

MEASURED = ("validation", "test")
"""Splits that lines and averages may be measured on."""

POINTS = 11
"""Points on a line, both ends included: the grid of the paper."""


@dataclass(frozen=True)
class Measure:
    """How barriers and averages are measured: on what, after which alignment, at how many points of a line.

    statistics: BatchNorm statistics of the ends of a line, see `Evaluator`. split: test, or validation to choose by;
        lines are measured on the training split too. renormalise: what is done to activations between the ends.
    """

    workspace: Workspace
    alignment: Alignment = AS_GIVEN
    points: int = POINTS
    statistics: Statistics = "recalibrate"
    split: str = "test"
    progress: Progress = SILENT
    renormalise: Renormalise = RECALIBRATE

    def __post_init__(self) -> None:
        """Refuse what is no split to be measured on, and one that the data do not have; say what is to be said."""
        if self.split not in MEASURED:
            raise unknown("split", str(self.split), MEASURED)
        self.workspace.dataset.split(self.split)
        note_repeats(self.workspace, [self.split], self.progress)
        note_statistics(self.workspace, self.progress)

    @property
    def aligner(self) -> Aligner:
        """A new aligner of the workspace's models."""
        return Aligner(self.alignment, self.workspace)

    def evaluator(self) -> Evaluator:
        """A new evaluator, whose network everything is measured in."""
        splits = ("train", self.split)
        return Evaluator(
            self.workspace,
            statistics=self.statistics,
            renormalise=self.renormalise,
            splits=splits,
            progress=self.progress,
        )

    @property
    def is_kept(self) -> bool:
        """Whether results are kept between runs: only where it is known for sure which network and data they are of."""
        return self.workspace.is_known

    def settings(self) -> dict[str, Any]:
        """All that decides a measurement besides the weights: the key that results are kept under."""
        return {
            **match_settings(self.workspace, self.alignment),
            "points": self.points,
            "statistics": self.statistics,
            "split": self.split,
            **({"tested": asdict(tested)} if (tested := self.workspace.dataset.tested) else {}),
            **self.renormalise.settings(),
        }
