"""`starcli plot`: draw results that were saved."""

from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.figures import DRAWN, FigureLook
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.options.common import Common
from starcli.cli.options.shared import IN
from starcli.cli.outputs import check_place
from starcli.cli.read_models import refuse_repeats

_COLUMNS = (Column("figure", "figure of"), Column("rows", "results", "d"), Column("output", "file", main=True))


@command(
    "starcli plot width4.jsonl width8.jsonl -o barriers.pdf --figure-width 3.25in",
    "starcli plot results.jsonl -o figure.png --figure-font 8pt",
    see="docs/gallery.md",
)
def plot_command(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="JSON lines of a command, or logs; - is stdin."), IN
    ],
    common: Common,
    look: FigureLook,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write: .png, .svg or .pdf."), DRAWN
    ],
) -> None:
    """Draw results that were saved, without measuring anything again.

    It draws, as --plot does, what barrier, plane, surface, bma, eval and fuse print with --json; or the .metrics.jsonl
    that train, star, curve and fuse write beside a model. Several files are drawn into one figure, each under its name.
    """
    from starcli.files.result_lines import read_results
    from starcli.files.write import write_atomically
    from starcli.plots.draw import draw, kind_of
    from starcli.plots.style import check_format

    refuse_repeats(results, "a file of results")
    check_place(output, results)
    with common.session() as (_, table):
        rows = read_results(results)
        write_atomically(output, draw(rows, check_format(output), look.look()))
        count = sum(map(len, rows.values()))
        table.add("plot", {"figure": kind_of(rows), "rows": count, "output": str(output)}, _COLUMNS)
