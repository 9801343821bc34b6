"""Options that every command has, and its session: who watches its work, and where its results go."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.dry_run import show_plan
from starcli.cli.framework.command import bundle
from starcli.cli.framework.errors import show_traceback
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.project_file import PROJECT_WORDS
from starcli.cli.framework.results import RESULT_FORMATS, Results
from starcli.cli.framework.typed_line import typed_line
from starcli.cli.options.shared import GENERAL, choice_of
from starcli.errors import StarcliError
from starcli.files.cache import cache_directory, using_cache
from starcli.files.names import is_standard_stream
from starcli.runtime import distributed
from starcli.runtime.garbage import begin_garbage_collection
from starcli.runtime.progress import HOW_TO_GO_ON, Interrupted
from starcli.runtime.rehearsal import rehearsing


@bundle
@dataclasses.dataclass
class Common:
    """Options of every command: the form of its results and how much it says."""

    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Form of results: table, json, csv, latex or markdown (default: table on a terminal, else json).",
            rich_help_panel=GENERAL,
            **choice_of("format", *RESULT_FORMATS),
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=GENERAL)] = False
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="No progress and no notes, only results and errors.", rich_help_panel=GENERAL
        ),
    ] = False
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback", help="Show where an error arose.", callback=show_traceback, is_eager=True,
            rich_help_panel=GENERAL,
        ),
    ] = False  # fmt: skip

    def __post_init__(self) -> None:
        if self.json and self.format not in (None, "json"):
            raise StarcliError(f"--json is short for --format json, and --format {self.format} is said too")
        self.format = "json" if self.json else self.format

    @contextlib.contextmanager
    def session(self, *to: Path | None) -> Iterator[tuple[Bars, Results]]:
        """The watcher of this command's long work, and its results; `to` are the files that it makes.

        Results go to stderr where such a file is stdout, and files are made though nobody reads the results any more;
        ranks go on for one another.
        Under torchrun the ranks work together, and only the first one speaks.
        """
        begin_garbage_collection()
        with distributed.group():
            speaks = distributed.is_writer()
            files = [each for each in to if each is not None]
            goes_on = bool(files) or distributed.size() > 1
            how = {"to_stderr": any(map(is_standard_stream, files)), "beside_files": goes_on}
            results = Results(self.format, silent=not speaks, line=typed_line(), **how)
            with Bars(quiet=self.quiet or not speaks) as watch, results:
                if PROJECT_WORDS.get():
                    watch.note(f"from {PROJECT_WORDS.get()}")
                yield watch, results


@bundle
@dataclasses.dataclass
class CommonCached(Common):
    """Options of every command that keeps results, proofs and specs between runs."""

    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compute all anew: read and write nothing in $XDG_CACHE_HOME/starcli, else ~/.cache/starcli.",
            rich_help_panel=GENERAL,
        ),
    ] = False

    @contextlib.contextmanager
    def session(self, *to: Path | None) -> Iterator[tuple[Bars, Results]]:
        """As without a cache; at the end a note says which results were not measured now."""
        with super().session(*to) as (watch, results), using_cache(on=not self.no_cache) as use:
            try:
                yield watch, results
            except Interrupted as stop:
                raise Interrupted(stop.signal, str(stop) or (HOW_TO_GO_ON if watch.kept or use.keeps else "")) from None
            found, asked = map(sum, zip(*distributed.all_gather(use.counts()), strict=True))
            if found:
                watch.note(f"{found} of {asked} results from the cache, {cache_directory()}; --no-cache measures anew")


@bundle
@dataclasses.dataclass
class CommonPlanned(CommonCached):
    """Options of every command whose work is long: also a rehearsal that tells how long."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing; show what would be done and about what time, memory and disk it takes, told by a few "
            "steps (train, align, star, curve, fuse, barrier, plane, surface, bma).",
            rich_help_panel=GENERAL,
        ),
    ] = False

    @contextlib.contextmanager
    def session(self, *to: Path | None) -> Iterator[tuple[Bars, Results]]:
        """As of commands that keep results; a dry run is a rehearsal of the very work, and shows its plan instead."""
        if not self.dry_run:
            with super().session(*to) as both:
                yield both
            return
        with rehearsing() as rehearsal, super().session(*to) as (watch, results):
            if distributed.size() > 1:
                raise StarcliError("--dry-run: a plan is made by one process, without torchrun")
            yield watch, Results("json", silent=True)
            show_plan(rehearsal, results)
