"""Figures from the command line: options of width and font, and what writes the file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle
from starcli.cli.options.checks import one_output
from starcli.cli.outputs import check_place
from starcli.errors import StarcliError
from starcli.files.write import write_atomically
from starcli.runtime import distributed
from starcli.runtime.rehearsal import present_rehearsal

if TYPE_CHECKING:
    from starcli.plots.look import Look
    from starcli.plots.rows import ResultRow


def _check_width(text: str) -> None:
    from starcli.plots.look import Look

    Look.of(width=text)


def _check_font(text: str) -> None:
    from starcli.plots.look import Look

    Look.of(font=text)


def _check_file(path: Path) -> None:
    from starcli.plots.style import check_format

    one_output(path)
    check_format(path)


DRAWN = Checked(_check_file, writes=True)
"""Mark of options that are files of figures to write."""

FIGURE = "Figure"
"""Heading of the help page for these options."""


@bundle
@dataclass(frozen=True)
class FigureLook:
    """How a figure looks."""

    figure_width: Annotated[
        str | None,
        typer.Option(
            "--figure-width",
            metavar="3.25in",
            help="Its width, in in, cm, mm or pt (default: 5.5in).",
            rich_help_panel=FIGURE,
        ),
        Checked(_check_width),
    ] = None
    figure_font: Annotated[
        str | None,
        typer.Option(
            "--figure-font",
            metavar="FONT,SIZE",
            help="Its font, size or both, such as 'Times New Roman, 9' (default: DejaVu Sans, 8).",
            rich_help_panel=FIGURE,
        ),
        Checked(_check_font),
    ] = None

    def look(self) -> "Look":
        """Width and font; StarcliError for what they cannot be."""
        from starcli.plots.look import Look

        return Look.of(self.figure_width, self.figure_font)


@bundle
@dataclass(frozen=True)
class PlotOptions(FigureLook):
    """Whether a command draws its results too."""

    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw a figure: a .png, .svg or .pdf file.", rich_help_panel=FIGURE
        ),
        DRAWN,
    ] = None

    def writer(self, inputs: Sequence[Path] = ()) -> "Callable[[Sequence[ResultRow]], None]":
        """A function that draws rows of results and writes the file; without a file it does nothing.

        That it is no input is checked now, before any work.
        """
        if self.plot is None:
            if self.figure_width or self.figure_font:
                raise StarcliError("--figure-width and --figure-font belong to --plot, which is missing")
            return lambda rows: None
        path = self.plot
        check_place(path, inputs)

        def write(rows: "Sequence[ResultRow]") -> None:
            from starcli.plots.draw import draw
            from starcli.plots.style import check_format

            if (rehearsal := present_rehearsal()) is not None:
                rehearsal.wrote(path, None)  # its rows were not measured
            elif distributed.is_writer():
                write_atomically(path, draw({"": rows}, check_format(path), self.look()))

        return write
