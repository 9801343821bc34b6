"""The models of `starcli barrier`: which of three measurements they ask for, and whether they belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.cli.read_models import need_several, read_groups
from starcli.errors import StarcliError, few

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class BarrierModels:
    """The models that the command line names, and what is measured between them."""

    models: list[Path]
    sources: list[Path]
    held_out: list[Path]
    star: Path | None
    aligned_sources: Path | None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [*self.models, *self.sources, *self.held_out, *([self.star] if self.star else [])]

    def check(self, *, all_pairs: bool, align: str | None) -> None:
        """Refuse words that ask for none of the three measurements: a star, all pairs, or from one model to others."""
        if self.star is not None:
            if self.models or all_pairs:
                raise StarcliError("--star is measured against --sources and --held-out, and takes no other models")
            need_several(self.sources)
            if not self.held_out:
                raise StarcliError("--held-out is needed: a star is judged on models that it never saw")
            return
        if self.sources or self.held_out or self.aligned_sources:
            raise StarcliError("--sources, --held-out and --aligned-sources belong to --star, which is missing")
        need_several(self.models, "barrier")
        if all_pairs and align is None:
            raise StarcliError(
                "--all-pairs needs --align said",
                ["models that were aligned to one reference are not aligned to each other",
                 "--align weight aligns each pair, --align none takes the files as they are"],
            )  # fmt: skip

    def read(self) -> "list[list[Checkpoint]]":
        """The models: one group, or star, sources, held-out models and aligned sources."""
        from starcli.alignment.align import is_left_by

        if self.star is None:
            return read_groups(self.models, distinct=False)
        groups = read_groups([self.star], self.sources, self.held_out)
        kept = sorted(self.aligned_sources.glob("*.safetensors")) if self.aligned_sources else []
        if self.aligned_sources and len(kept) != len(self.sources):
            raise StarcliError(f"{self.aligned_sources}: has {len(kept)} models for {len(self.sources)} --sources")
        [aligned] = read_groups(kept) if kept else [[]]
        made_from = {parent for model in aligned for parent in model.metadata.parents}
        if others := [source.name for source in groups[1] if aligned and source.sha256 not in made_from]:
            raise StarcliError(f"{self.aligned_sources}: no model there was made from {few(others, 5)}")
        [star] = groups[0]
        if strangers := [model.name for model in aligned if not is_left_by(star, model)]:
            raise StarcliError(f"{self.aligned_sources}: not aligned to {star.name}: {few(strangers, 5)}")
        return [*groups, aligned]
