"""How a comparison measures: the same for all its models."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starcli import __version__
from starcli.alignment.align import described
from starcli.barriers.pairs import Align
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.evaluator import Evaluator, Model, Statistics
from starcli.registry import METHODS, resolve
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.data import record_of
from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Measure:
    """How barriers are measured: the same for every pair of a comparison."""

    workspace: Workspace
    method: str | None = None
    restarts: int = 1
    seed: int = 0
    points: int = 11
    statistics: Statistics = "recalibrate"
    progress: Progress = SILENT

    @property
    def aligns(self) -> bool:
        """Whether models are aligned before they are measured."""
        return self.method is not None and self.method != "none"

    def described(self, reference: Checkpoint, model: Checkpoint) -> str:
        """How a result says what alignment it rests on."""
        return described(self.method, self.restarts, reference, model)

    def alignments(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> str:
        """The alignments that `pairs` rest on: all that occur."""
        return ", ".join(sorted({self.described(a, b) for a, b in pairs}))

    def evaluator(self) -> Evaluator:
        """The network that everything is measured in."""
        return Evaluator(self.workspace, statistics=self.statistics, progress=self.progress)

    def align(self) -> Align | None:
        """Alignment of bare tensors, for pairs whose models take part in several."""
        if not self.aligns:
            return None
        match = resolve(METHODS, "method", str(self.method))
        spec = self.workspace.spec.resolved

        def aligned(reference: Model, model: Model) -> Model:
            found = match(reference, model, spec, seed=self.seed, restarts=self.restarts)
            result: Model = found.permutation.apply(model)
            return result

        return aligned

    def settings(self) -> dict[str, Any]:
        """All that decides a measurement besides the weights."""
        how = {"method": self.method, "restarts": self.restarts, "seed": self.seed}
        return {
            "architecture": self.workspace.architecture.model_dump(mode="json"),
            "data": record_of(self.workspace.dataset).model_dump(mode="json"),
            "align": {**how, "spec": self.workspace.spec.resolved.sha256} if self.aligns else None,
            "points": self.points,
            "statistics": self.statistics,
            "precision": self.workspace.precision,
            "device": self.workspace.device.type,
            "program": __version__,
        } | ({"code": self.workspace.code} if self.workspace.code else {})
