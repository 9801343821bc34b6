"""`fuse` of files of which some say no data: merges by weights alone."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from starcli.cli.framework.command import said_in
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.fuse_jobs import FuseOptions
from starcli.cli.job import Job
from starcli.cli.options.alignment import AlignOptions
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.read_models import refuse_repeats
from starcli.errors import StarcliError, option_of
from starcli.files.names import output_name

if TYPE_CHECKING:
    from starcli.files.lazy_tensors import LazyTensors


_NEED_DATA = {each.name for bundle in (AlignOptions, RenormaliseOptions) for each in fields(bundle)} - {"align"}
"""Options that say how models are aligned, or how points between them are renormalised."""


@dataclass(frozen=True)
class MergedFile:
    """A finished merge."""

    job: Job
    tensors: "LazyTensors"
    alignment: ClassVar[str] = "none"

    def compared(self, _: str | None) -> Iterator[dict[str, Any]]:
        """A row of what is known without data: how large the model is."""
        size = {"tensors": len(self.tensors), "parameters": sum(form.numel for form in self.tensors.forms.values())}
        made = {"output": str(self.job.path), "seed": self.job.finished.seed}
        yield {"model": "fused", "name": output_name(self.job.path), "alignment": self.alignment, **size, **made}


@dataclass(frozen=True)
class FileMerges:
    """One command's merges: one for each seed, from file to file."""

    options: FuseOptions
    watch: Bars
    drawn: bool
    """Whether a figure is asked for."""

    def check(self, split: str | None) -> None:
        """Refuse what only network and data make sense of."""
        options = self.options
        asked = {"--split": split, "--plot": self.drawn, "--align": options.align not in (None, "none")}
        asked |= {option_of(name): True for name in said_in(options) if name in _NEED_DATA}
        if said := next((name for name, value in asked.items() if value), None):
            hint = ["--arch and --data say them; starcli align takes --input in the place of data"]
            raise StarcliError(f"{said} needs network and data, and not all files say which data", hint)

    def all(self) -> Iterator[MergedFile]:
        """Make the files that are not there yet, in the order of the seeds."""
        from starcli.checkpoints.several import read_all
        from starcli.fusion.merge_files import merges_of_files

        options = self.options
        paths, _places = options.outputs()
        refuse_repeats(options.inputs)
        models, merge = read_all(options.inputs, distinct=False), options.merge(options.method)
        assert merge is not None  # the method is one
        has_base = options.base is not None
        found = merges_of_files(merge, models, options.numbers, base=has_base, progress=self.watch)
        jobs = [Job(path, each.plan, self.watch, force=options.force) for path, each in zip(paths, found, strict=True)]
        for job, each in zip(jobs, found, strict=True):
            with job.making() as needed:
                if needed:
                    self.watch.start("merging", len(each.tensors))
                    job.write(each.tensors, **each.facts)
                    self.watch.finish()
            yield MergedFile(job, each.tensors)
