"""The options of `fuse`, and what it makes by other methods than star."""

import dataclasses
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle
from starcli.cli.job import Job
from starcli.cli.options import checks
from starcli.cli.options.merging import MergeOptions
from starcli.cli.options.points import InTurnOpt
from starcli.cli.options.search import SearchOptions
from starcli.cli.options.shared import IN, NETWORK, FuseAlignOpt, SeededOutputOpt, choice_in, choice_of, names_of
from starcli.cli.read_models import read_groups
from starcli.cli.star_jobs import StarRuns
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.registry.data_sets import DATASETS
from starcli.registry.entry import either
from starcli.registry.fusions import FUSIONS, TRAINED_FUSIONS
from starcli.registry.merges import MERGES
from starcli.registry.splits import SPLITS

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.data.dataset import Dataset
    from starcli.fusion.fusing import Fused, Fusion
    from starcli.star.settings import StarSettings
    from starcli.workspace.plan import Plan
    from starcli.workspace.workspace import Workspace


@bundle
@dataclasses.dataclass(frozen=True, kw_only=True)
class FuseOptions(SearchOptions, MergeOptions):
    """Options of a fusion: the models and the method, without the settings of training."""

    kind = "fused"

    output: SeededOutputOpt = Path("fused.safetensors")
    align: FuseAlignOpt = None
    star: Annotated[
        Path | None,
        typer.Option("--star", metavar="MODEL", help="Of distil: the star whose domain teaches, not the ensemble."),
        IN,
    ] = None
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=1_000_000, help="Points of it in each step, drawn anew.")
    ] = 5
    in_turn: InTurnOpt = False
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="star; mean of the sources (with --align none the uniform soup); greedy-soup: mean of those that do "
            "not lower the validation accuracy; distil: a student of their averaged predictions, or a star domain's; "
            f"fisher, regmean: means weighted by data. Of weights alone: {either(MERGES)}.",
            **choice_in("method", FUSIONS),
        ),
    ] = "star"
    mu: Annotated[float, typer.Option("--mu", min=0, help="Weight of the model's own loss.")] = 1.0
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            help="sum, or normalised: divided by 1 + mu.",
            **choice_of("objective", "sum", "normalised"),
        ),
    ] = "sum"
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Show rows of this split alone: train, validation or test (default: all).",
            **choice_of("split", *SPLITS),
        ),
    ] = None

    source_data: Annotated[
        list[str] | None,
        typer.Option(
            "--source-data", metavar="NAME...", rich_help_panel=NETWORK, autocompletion=names_of(DATASETS),
            help="What each source was trained on, in their order, as of --data, where that is not the same for all.",
        ),
        Checked(checks.data_sets),
    ] = None  # fmt: skip

    @property
    def inputs(self) -> list[Path]:
        """All files that are read, base and star among them."""
        return [*super().inputs, *(each for each in (self.base, self.star) if each)]

    @property
    def several(self) -> list[Path]:
        """Sources and base: what one source changed can be merged into its base alone."""
        return [*self.sources, *([self.base] if self.base else [])]

    def settings(self) -> "StarSettings":
        """The settings of the search, with the model's own loss in the objective."""
        return dataclasses.replace(super().settings(), normalised=self.objective == "normalised")

    @property
    def usual(self) -> str:
        """By activation, but models of one base are taken as they are."""
        return "none" if self.base else DEFAULT_METHOD


@dataclasses.dataclass
class FusionRuns(StarRuns):
    """One command's fusions by other methods than star: one for each seed, all of the same sources."""

    search: FuseOptions

    @cached_property
    def _files(self) -> "dict[str, list[Checkpoint]]":
        """The models of any search, the one that the sources descend from, and the star whose domain teaches."""
        others = {"base": self.search.base, "star": self.search.star}
        return {**super()._files, **{role: read_groups([each])[0] if each else [] for role, each in others.items()}}

    @cached_property
    def _opened(self) -> "tuple[Workspace, list[Checkpoint], tuple[Dataset, ...]]":
        from starcli.workspace.source_data import workspace_of_sources

        if self.search.method in TRAINED_FUSIONS:
            return super()._opened
        sources, *others = self._files.values()
        return workspace_of_sources(sources, list(chain(*others)), self.setup, self.search.source_data or ())

    @property
    def base(self) -> "Checkpoint | None":
        """The model that the sources descend from."""
        return next(iter(self.models["base"]), None)

    def plan(self, number: int) -> "Plan":
        """Plan the model of seed `number`."""
        from starcli.library.plans import fusion_plan

        return fusion_plan(self.workspace, self.sources, self.fusion(number))

    @property
    def title(self) -> str:
        """How the sources are aligned to each other, as people read it."""
        return self.search.alignment.title

    def make(self, job: Job) -> "Fused":
        """Make the model of a job."""
        from starcli.fusion.fusing import fuse_sources

        return fuse_sources(
            self.workspace,
            self.sources,
            self.fusion(job.plan.seed or 0),
            state=job.state,
            progress=self.watch,
        )

    def fusion(self, seed: int) -> "Fusion":
        """The fusion of seed `seed`."""
        from starcli.averaging.sampling import PointSampling
        from starcli.fusion.fusing import DomainTeacher, Fusion

        method, star = self.search.method, next(iter(self.models["star"]), None)
        teacher = DomainTeacher(self.search.samples, PointSampling(self.search.sampling, self.search.in_turn))
        recipe = self.recipe if method in TRAINED_FUSIONS else None
        how: dict[str, Any] = {"alignment": self.search.alignment, "renormalise": self.search.between()}
        how |= {"merge": self.search.merge(method), "base": self.base}
        how |= {"init": self.initial, "star": star, "teacher": teacher, "source_data": self.source_data}
        return Fusion(method=method, seed=seed, recipe=recipe, **how)
