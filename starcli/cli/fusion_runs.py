"""What `fuse` makes by other methods than star."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from starcli.cli.job import Job
from starcli.cli.star_search import StarSearch
from starcli.registry.fusions import TRAINED_FUSIONS

if TYPE_CHECKING:
    from starcli.star.fusing import Fused, Fusion
    from starcli.workspace.plan import Plan


@dataclasses.dataclass
class FusionRuns(StarSearch):
    """One command's fusions by `method`: one for each seed, all of the same sources."""

    method: str = "mean"

    def plan(self, kind: "Literal['star', 'fused']", number: int) -> "Plan":
        """Plan the model of seed `number`."""
        from starcli.library.plans import fusion_plan

        return fusion_plan(self.workspace, self.sources, self._fusion(number))

    @property
    def title(self) -> str:
        """How the sources are aligned to each other, as people read it."""
        return self.search.alignment.title

    def make(self, job: Job) -> "Fused":
        """Make the model of a job."""
        from starcli.star.fusing import fuse_sources

        return fuse_sources(
            self.workspace,
            self.sources,
            self._fusion(job.plan.seed or 0),
            state=job.state,
            checkpoint_every=self.search.checkpoint_every,
            progress=self.watch,
        )

    def _fusion(self, seed: int) -> "Fusion":
        from starcli.star.fusing import Fusion

        recipe = self.recipe if self.method in TRAINED_FUSIONS else None
        how: dict[str, Any] = {"alignment": self.search.alignment, "renormalise": self.search.between()}
        return Fusion(method=self.method, seed=seed, recipe=recipe, init=self.initial, **how)


def said_in(*bundles: Any) -> list[str]:
    """Names of the options that have another value than their default."""
    return [
        option.name
        for bundle in bundles
        for option in dataclasses.fields(bundle)
        if getattr(bundle, option.name) != option.default
    ]
