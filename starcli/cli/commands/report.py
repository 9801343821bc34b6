"""`starcli report`: one page of what is in a directory."""

from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.options.checks import input_files, one_output
from starcli.cli.options.common import Common
from starcli.cli.outputs import check_place
from starcli.cli.read_models import refuse_repeats
from starcli.errors import StarcliError

_COLUMNS = (
    Column("files", "models", "d"),
    Column("results", "results", "d"),
    Column("logs", "logs", "d"),
    Column("output", "page", main=True),
)


def _check_paths(paths: list[Path]) -> None:
    input_files([path for path in paths if not path.is_dir()])


def _check_page(path: Path) -> None:
    one_output(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise StarcliError(f"{path}: a report is a page, whose name ends in .html")


@command(
    "starcli report runs -o report.html",
    "starcli report results.jsonl ckpts/*.safetensors -o report.html",
    see="docs/files.md#reports",
)
def report_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|FILE...", help="Directories; checkpoints, JSON lines, logs."),
        Checked(_check_paths),
    ],
    common: Common,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Page to write."), Checked(_check_page)
    ],
    title: Annotated[str | None, typer.Option("--title", help="Its title (default: the directory's name).")] = None,
) -> None:
    """Write one HTML page of models and results: lineage, tables, figures, and the lines that made them.

    It shows what checkpoints record, what barrier, plane, surface, bma, eval, fuse and other commands saved with
    --json, and the .metrics.jsonl of train, star, curve and fuse. The best model is that of each test split; rows of
    eval with --recalibrate are compared among themselves, by the training data that statistics are of (--train-data).
    The page needs no network and no other file; nothing is measured, no weights are read.
    """
    from starcli.files.write import write_atomically
    from starcli.reports.findings import find
    from starcli.reports.page import render_page

    refuse_repeats(paths, "a file or directory")
    check_place(output, [path for path in paths if path.is_file()])
    with common.session() as (watch, table):
        found = find(paths, title)
        write_atomically(output, render_page(found).encode())
        for line in found.left_out:
            watch.note(f"left out: {line}")
        counts = {"files": len(found.checkpoints), "results": len(found.runs), "logs": len(found.logs)}
        table.add("report", {**counts, "output": str(output)}, _COLUMNS)
