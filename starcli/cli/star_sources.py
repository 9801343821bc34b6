"""The sources as a star's training permuted them: where they are kept, checked before any work, and written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.cli.job import Job
from starcli.cli.outputs import check_place, filled
from starcli.errors import StarcliError
from starcli.files.names import is_standard_stream, stem
from starcli.files.write import check_directory
from starcli.runtime import distributed

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.alignment.alignment import Alignment
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.metadata import AlignedTo
    from starcli.star.starlight import Star
    from starcli.workspace.plan import Plan
    from starcli.workspace.workspace import Workspace


def kept_places(
    template: Path, stars: Mapping[int, Path], sources: Sequence[Path], inputs: Sequence[Path]
) -> list[list[Path]]:
    """For each star, by its seed, where each source goes: DIR/<source>, {seed} in DIR standing for the seed.

    Several stars that would share one DIR have a directory each in it: DIR/<star>/<source>.
    Names that occur twice are told apart by numbers. Refused before any work: a star on stdout, a place that is an
    input or a star, a DIR that cannot be written to.
    """
    files = list(stars.values())
    if any(map(is_standard_stream, files)):
        raise StarcliError("--aligned-sources needs the star in a file")
    within = [filled(template, {"seed": seed}, "--aligned-sources") for seed in stars]
    if len(set(within)) < len(within):
        within = [each / name for each, name in zip(within, _distinct(files), strict=True)]
    places = [[each / f"{name}.safetensors" for name in _distinct(sources)] for each in within]
    own = {path.resolve() for path in files}
    for folder, paths in zip(within, places, strict=True):
        check_directory(folder)
        for path in paths:
            if path.resolve() in own:
                raise StarcliError(f"{path}: is an output, and a place of --aligned-sources too")
            if folder.exists():
                check_place(path, inputs)
    return places


def _distinct(paths: Sequence[Path]) -> list[str]:
    names = [stem(path) for path in paths]
    if len({name.casefold() for name in names}) < len(names):  # some disks take upper for lower case
        return [f"{number}-{name}" for number, name in enumerate(names)]
    return names


@dataclass(frozen=True)
class Keeper:
    """Writes the permuted sources of each star; `places` are those of `kept_places`, by the star's path.

    alignment: how the sources were aligned last.
    """

    workspace: "Workspace"
    sources: "Sequence[Checkpoint]"
    alignment: "Alignment"
    places: Mapping[Path, Sequence[Path]]

    def check(self, job: Job, *, force: bool) -> None:
        """StarcliError where other files lie there already than would be written, unless `force`."""
        from starcli.workspace.plan import standing

        for path, wanted in zip(self.places[job.path], self._plans(job), strict=True):
            distributed.by_writer(partial(standing, path, wanted, force=force))

    def complete(self, job: Job) -> bool:
        """Whether all are there."""
        return all(path.exists() for path in self.places[job.path])

    def keep(self, found: "Star", job: Job) -> None:
        """Write each source as training permuted it last."""
        from starcli.checkpoints import checkpoint

        paths = self.places[job.path]
        for number, (path, source, wanted) in enumerate(zip(paths, self.sources, self._plans(job), strict=True)):
            aligned = found.aligned(number)
            facts = source.facts_under(wanted.data)
            checkpoint.write(path, aligned, wanted.metadata(**facts, aligned_to=self._record(found, aligned, job)))

    def _plans(self, job: Job) -> "Iterator[Plan]":
        from starcli.workspace.plan import plan_of, training_settings

        for source in self.sources:
            yield plan_of(
                self.workspace,
                source.metadata.kind,
                {**training_settings(source), "aligned_by": {"run": job.plan.run_id}},
                seed=source.metadata.seed,
                parents=[source],
                spec=self.workspace.spec.record() if self.alignment.active else None,
            )

    def _record(self, found: "Star", aligned: "Mapping[str, Tensor]", job: Job) -> "AlignedTo | None":
        """What a permuted source says of the star that it was aligned to."""
        from starcli.alignment.aligner import Aligner
        from starcli.checkpoints.hashes import weights_sha256

        if not self.alignment.active:
            return None
        objective = Aligner(self.alignment, self.workspace).objective(found.tensors, aligned)
        return replace(self.alignment, seed=job.plan.seed or 0).record(weights_sha256(found.tensors), objective)
