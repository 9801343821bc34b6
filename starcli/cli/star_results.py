"""A finished star or fused model, and what the commands show of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job
from starcli.registry.splits import SPLITS

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.cli.options.search import SearchOptions
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class FoundStar:
    """A finished star or fused model, found or just made."""

    job: Job
    model: "Checkpoint"
    sources: "Sequence[Checkpoint]"
    alignment: str
    base: "Checkpoint | None" = None

    def row(self) -> dict[str, Any]:
        """What is shown of it, taken from its file."""
        from starcli.workspace.stamp import task_facts

        finished = self.job.finished
        metrics, data = finished.metrics or {}, finished.data
        grown = (finished.recipe or {})[finished.kind].get("grown")
        return {
            "output": str(self.job.path),
            "seed": finished.seed,
            "sources": len(self.sources),
            **({"grown": grown} if grown else {}),
            "alignment": self.alignment,
            **(task_facts(data.task_name) if data else {}),
            **{split: metrics.get(split) for split in SPLITS},
        }

    def compared(
        self, workspace: "Workspace", search: "SearchOptions", watch: Bars, split: str | None
    ) -> "Iterator[dict[str, Any]]":
        """Rows of the fused model beside its sources, which are aligned to it by the seed of its search."""
        from starcli.alignment.aligner import Aligner
        from starcli.fusion.fusion_report import fusion_rows

        seed = self.job.finished.seed
        aligner, means = Aligner(replace(search.alignment, seed=seed or 0), workspace), search.between()
        how: dict[str, Any] = {"base": self.base, "renormalise": means, "split": split, "progress": watch}
        for row in fusion_rows(aligner, self.model, self.sources, **how):
            yield {**row, "output": str(self.job.path), "seed": seed, "statistics": "recalibrate"}
