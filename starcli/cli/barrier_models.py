"""The models of `starcli barrier`: which of three measurements they ask for, and whether they belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle
from starcli.cli.options import checks
from starcli.cli.options.shared import IN, CurveOpt, HeldOutOpt
from starcli.cli.read_models import read_groups
from starcli.errors import StarcliError, few, need_several, number_of

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint


@bundle
@dataclass(frozen=True)
class BarrierModels:
    """The models that the command line names, and what is measured between them."""

    models: Annotated[
        list[Path] | None, typer.Argument(metavar="A B...", help="A model, and those to go to from it."), IN
    ] = None
    curve: CurveOpt = None
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every pair of the models; --align must be said.")] = (
        False
    )
    star: Annotated[Path | None, typer.Option("--star", metavar="MODEL", help="Judge this star."), IN] = None
    sources: Annotated[
        list[Path] | None, typer.Option("--sources", metavar="MODEL...", help="The solutions it was made from."), IN
    ] = None
    held_out: HeldOutOpt = None
    aligned_sources: Annotated[
        Path | None,
        typer.Option("--aligned-sources", metavar="DIR", help="The sources as the star's training left them."),
        Checked(checks.input_directory),
    ] = None

    @property
    def paths(self) -> list[Path]:
        """The files of all models that the command line names."""
        groups = (self.models, self.curve, self.sources, self.held_out, [self.star] if self.star else None)
        return [path for group in groups for path in group or ()]

    def check(self, align: str | None) -> None:
        """Refuse words that ask for none of the measurements: a star, all pairs, or from one model to others."""
        if self.curve and (self.star is not None or self.all_pairs or len(self.models or ()) != 2):
            raise StarcliError("--curve is measured between two models, A and B, and goes with no others")
        if self.star is not None:
            if self.models or self.all_pairs:
                raise StarcliError("--star is measured against --sources and --held-out, and takes no other models")
            need_several(self.sources or ())
            if not self.held_out:
                raise StarcliError("--held-out is needed: a star is judged on models that it never saw")
            return
        if self.sources or self.held_out or self.aligned_sources:
            raise StarcliError("--sources, --held-out and --aligned-sources belong to --star, which is missing")
        need_several(self.models or (), "barrier")
        if self.all_pairs and align is None:
            raise StarcliError(
                "--all-pairs needs --align said",
                ["models that were aligned to one reference are not aligned to each other, but with align --joint",
                 "--align weight aligns each pair, --align none takes the files as they are"],
            )  # fmt: skip

    def read(self) -> "list[list[Checkpoint]]":
        """The models: one group and the bends between them, or star, sources, held-out models and aligned sources."""
        from starcli.alignment.alignment import is_left_by

        if self.star is None:
            return read_groups(self.models or (), self.curve or (), distinct=self.all_pairs)
        groups = read_groups([self.star], self.sources or (), self.held_out or ())
        kept = sorted(self.aligned_sources.glob("*.safetensors")) if self.aligned_sources else []
        if self.aligned_sources and len(kept) != len(groups[1]):
            raise StarcliError(
                f"{self.aligned_sources}: has {number_of(len(kept), 'model')} for {len(groups[1])} --sources"
            )
        [aligned] = read_groups(kept) if kept else [[]]
        made_from = {parent for model in aligned for parent in model.metadata.parents}
        if others := [source.name for source in groups[1] if aligned and source.sha256 not in made_from]:
            raise StarcliError(f"{self.aligned_sources}: no model there was made from {few(others, 5)}")
        [star] = groups[0]
        if strangers := [model.name for model in aligned if not is_left_by(star, model)]:
            raise StarcliError(f"{self.aligned_sources}: not aligned to {star.name}: {few(strangers, 5)}")
        return [*groups, aligned]
