"""The files that `permute` makes: the permuted model, and what acted on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.symmetry.symmetries import Symmetry
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Permuting:
    """A permutation or other element about to act on a model; `which` are the settings that say which it is."""

    workspace: "Workspace"
    source: "Checkpoint"
    symmetry: "Symmetry"
    which: Mapping[str, Any]
    watch: Bars
    force: bool

    def make(self, path: Path, file: Path | None = None) -> dict[str, Any]:
        """Write the model, and to `file` what acted, where they are not there yet: the figures of both.

        Where the function would change, neither is written.
        """
        from starcli.alignment.unchanged import act_on
        from starcli.library.plans import permuted_plans
        from starcli.symmetry.symmetries import permutes_alone, units_of

        plan, of_symmetry = permuted_plans(self.workspace, self.source, dict(self.which), self.symmetry)
        job = Job(path, plan, self.watch, force=self.force)
        index = Job(file, of_symmetry, self.watch, force=self.force) if file else None
        difference = None
        with job.making() as needed:
            if needed:
                tensors, difference = act_on(self.workspace, self.symmetry, self.source.tensors)
                job.write(tensors, **self.source.facts_under(job.plan.data))
        if index is not None:
            with index.making() as needed:
                if needed:
                    index.write(self.symmetry.to_tensors())
        figures = {"moved": units_of(self.symmetry).moved()}
        return figures if permutes_alone(self.symmetry) else {**figures, "difference": difference}
