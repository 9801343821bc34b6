"""The models of `starcli predict`: which are asked, each by itself or together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.alignment import AlignedOptions
from starcli.cli.options.points import PointOptions
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.shared import IN, SeedOpt
from starcli.cli.read_models import read_groups
from starcli.errors import StarcliError, need_several
from starcli.registry.alignment_methods import DEFAULT_METHOD

if TYPE_CHECKING:
    from starcli.averaging.predict import Predictor
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.evaluation.column_predictions import AnyPredictions


@bundle
@dataclass(frozen=True, kw_only=True)
class PredictModels(AlignedOptions, RenormaliseOptions, PointOptions):
    """The models that the command line names, and what is made of them."""

    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL...", help="Models, each asked by itself."), IN
    ] = None
    ensemble: Annotated[bool, typer.Option("--ensemble", help="The mean of the models' probabilities instead.")] = False
    star: Annotated[
        Path | None,
        typer.Option("--star", metavar="MODEL", help="The star domain of this star, in place of models."),
        IN,
    ] = None
    sources: Annotated[list[Path] | None, typer.Option("--sources", metavar="MODEL...", help="Its sources."), IN] = None
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=1_000_000, help="Points of the star domain, drawn as bma does.")
    ] = 10
    seed: SeedOpt = 0

    @property
    def paths(self) -> list[Path]:
        """The files of all models that the command line names, a star first, then its sources."""
        return [*([self.star] if self.star else ()), *(self.sources or ()), *(self.models or ())]

    def check(self) -> None:
        """Refuse words that ask for nothing, or for two things."""
        from starcli.alignment.alignment import Alignment

        if self.star is None:
            if self.sources:
                raise StarcliError("--sources belong to --star, which is missing")
            asked = {"--sampling": self.sampling != PointOptions.sampling, "--in-turn": self.in_turn}
            asked |= {"--samples": self.samples != PredictModels.samples, "--seed": self.seed != PredictModels.seed}
            asked |= {"--align": self.chosen() != Alignment(DEFAULT_METHOD)}
            for name in (name for name, said in {**asked, "--renormalise": self.between().active}.items() if said):
                raise StarcliError(f"{name} is for points between models: it belongs to --star, which is missing")
            if not self.models:
                raise StarcliError("no model is given", ["starcli predict MODEL..., or --star with --sources"])
            if self.ensemble:
                need_several(self.models, "--ensemble")
        elif self.models or self.ensemble:
            raise StarcliError("--star is asked with its --sources, and with no other models")
        else:
            need_several(self.sources or (), "--sources")

    def read(self) -> "list[Checkpoint]":
        """All models in one list; those of an ensemble, and the sources of a star, have no repeats."""
        [found] = read_groups(self.paths, distinct=self.ensemble or self.star is not None)
        return found

    def how(self, models: "list[Checkpoint]") -> dict[str, Any]:
        """Keys of rows on points between the models that were read, if these are a star and its sources."""
        if self.star is None:
            return {}
        star, *sources = models
        aligned = self.chosen(self.seed).labels((star, source) for source in sources)
        return {"alignment": aligned, "seed": self.seed, **self.between().settings()}

    def ask(self, predictor: "Predictor", models: "list[Checkpoint]") -> "AnyPredictions":
        """The predictions of the models that were read."""
        if self.star is None:
            return predictor.ensemble(models) if self.ensemble else predictor.each(models)
        from starcli.averaging.predict import StarDomain
        from starcli.star.check_sources import check_roles

        star, *sources = models
        check_roles(star, sources, (), predictor.progress)
        alignment, activations = self.chosen(self.seed), self.between()
        return predictor.star(StarDomain(star, sources, self.samples, self.seed, alignment, activations, self.points()))
