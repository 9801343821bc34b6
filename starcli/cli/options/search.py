"""The options of a search for a star, which `star` and `fuse` have alike."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.alignment import SearchedOptions
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.shared import (
    ALIGNMENT,
    IN,
    OUT,
    EveryOpt,
    ForceRunOpt,
    HeldOutOpt,
    LogsOpt,
    RecipeOpt,
    SamplingOpt,
    SeededOutputOpt,
    SeedOpt,
    SeedsOpt,
    SourcesOpt,
    SyncOpt,
    choice_in,
)
from starcli.cli.options.values import epochs_between, seed_list
from starcli.cli.outputs import output_paths
from starcli.cli.star_sources import kept_places
from starcli.errors import StarcliError, need_several
from starcli.registry.alignment_methods import METHODS

if TYPE_CHECKING:
    from starcli.alignment.alignment import Alignment
    from starcli.star.settings import StarSettings


@bundle
@dataclass(frozen=True, kw_only=True)
class SearchOptions(SearchedOptions, RenormaliseOptions):
    """Options of a search for a star: sources and settings, without those of training."""

    kind: ClassVar[Literal["star", "fused"]] = "star"
    """What is made: the kind of its file."""

    sources: SourcesOpt
    output: SeededOutputOpt = Path("star.safetensors")
    recipe: RecipeOpt = None
    seed: SeedOpt = 0
    seeds: SeedsOpt = None
    sampling: SamplingOpt = "uniform"
    realign_every: Annotated[
        str,
        typer.Option(
            "--realign-every",
            metavar="epoch|drawn|K|never",
            help="When the sources are aligned to the star anew; drawn: in each epoch those that its steps draw.",
            rich_help_panel=ALIGNMENT,
        ),
    ] = "epoch"
    realign_restarts: Annotated[
        int,
        typer.Option(
            "--realign-restarts",
            min=1,
            help="Rounds of the search when they are aligned anew, from where they are; not of methods that learn.",
            rich_help_panel=ALIGNMENT,
        ),
    ] = 1
    realign_method: Annotated[
        str | None,
        typer.Option(
            "--realign-method",
            help="How they are aligned anew, if not by --align; of learn: weight, by the same kinds of symmetries.",
            rich_help_panel=ALIGNMENT,
            **choice_in("method", METHODS),
        ),
    ] = None
    realign_drift: Annotated[
        float | None,
        typer.Option(
            "--realign-drift",
            metavar="SHARE",
            help="Align anew only if the star has moved by more than this share of its norm since, such as 0.05.",
            rich_help_panel=ALIGNMENT,
        ),
    ] = None
    realign_noise: Annotated[
        float,
        typer.Option(
            "--realign-noise",
            metavar="SHARE",
            min=0,
            help="Align anew to the star with noise, of this share of each tensor's size, such as 1.",
            rich_help_panel=ALIGNMENT,
        ),
    ] = 0.0
    draws_per_step: Annotated[
        int | None,
        typer.Option(
            "--draws-per-step",
            metavar="N",
            min=1,
            help="Sources and t drawn at each step (default: one for each rank).",
        ),
    ] = None
    noise: Annotated[
        float,
        typer.Option(
            "--noise",
            metavar="SHARE",
            min=0,
            help="Train on points with noise, of this share of each tensor's size, such as 0.3.",
        ),
    ] = 0.0
    pull: Annotated[
        float,
        typer.Option(
            "--pull",
            metavar="STRENGTH",
            min=0,
            help="Pull the star to the mean of its aligned sources, as weight decay does to 0, such as 0.001.",
        ),
    ] = 0.0
    companions: Annotated[
        int,
        typer.Option(
            "--companions",
            metavar="N",
            min=0,
            help="Train so many more sources here, in half of --epochs in all.",
        ),
    ] = 0
    sync_batchnorm: SyncOpt = False
    init: Annotated[
        Path | None, typer.Option("--init", metavar="MODEL", help="Begin at this model instead of random weights."), IN
    ] = None
    grow: Annotated[
        Path | None,
        typer.Option(
            "--grow",
            metavar="STAR",
            help="Train this finished star on for --sources old and new; those of it that are not among them are "
            "dropped.",
        ),
        IN,
    ] = None
    held_out: HeldOutOpt = None
    eval_every: Annotated[
        int | None,
        typer.Option(
            "--eval-every",
            metavar="K",
            min=1,
            help="Log the held-out models' barriers every K epochs (default: the last).",
        ),
    ] = None
    aligned_sources: Annotated[
        Path | None,
        typer.Option(
            "--aligned-sources",
            metavar="DIR",
            help="Keep the sources as training permuted them at the end; {seed} varies.",
        ),
        OUT,
    ] = None
    checkpoint_every: EveryOpt = None
    log: LogsOpt = None
    force: ForceRunOpt = False

    def __post_init__(self) -> None:
        """Refuse words that do not go together, before torch is loaded."""
        need_several(self.several)
        if self.eval_every and not self.held_out:
            raise StarcliError("--eval-every needs --held-out models to measure")
        if self.init and self.grow:
            raise StarcliError("--init and --grow both say where to begin")
        if self.companions and self.grow:
            raise StarcliError("--companions is not for a star that grows")

    @property
    def several(self) -> list[Path]:
        """The models of which there have to be two at least."""
        return self.sources

    @property
    def numbers(self) -> list[int]:
        """The seeds, a search each."""
        return seed_list(self.seeds, self.seed)

    @property
    def held_out_files(self) -> list[Path]:
        """The files of held-out models."""
        return self.held_out or []

    @property
    def beginning(self) -> list[Path]:
        """The file of the model that training begins at, if it is not random weights."""
        return [each for each in (self.init, self.grow) if each is not None]

    @property
    def inputs(self) -> list[Path]:
        """All files that are read, none of which may be written over."""
        return [*self.sources, *self.held_out_files, *self.beginning]

    def outputs(self) -> tuple[list[Path], list[list[Path]] | None]:
        """The stars' files, and for each where its permuted sources are kept; what is wrong with the words is said."""
        paths = output_paths(self.output, [{"seed": number} for number in self.numbers], self.inputs)
        if self.aligned_sources is None:
            return paths, None
        stars = dict(zip(self.numbers, paths, strict=True))
        return paths, kept_places(self.aligned_sources, stars, self.sources, self.inputs)

    @cached_property
    def alignment(self) -> "Alignment":
        """How the sources are aligned to the star."""
        return self.chosen()

    def settings(self) -> "StarSettings":
        """The settings of the search, by the options of their names."""
        from starcli.star.settings import StarSettings

        said = {each.name: getattr(self, each.name) for each in fields(StarSettings) if hasattr(self, each.name)}
        said |= {"realign_every": epochs_between(self.realign_every), "renormalise": self.between()}
        return StarSettings(**said)
