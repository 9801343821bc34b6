"""Figures of results from Python."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from starcli.barriers.all_pairs import PairsReport
from starcli.barriers.line_barrier import Barrier
from starcli.barriers.star_report import StarReport
from starcli.errors import StarcliError
from starcli.evaluation.result_table import ResultTable
from starcli.files.names import as_path
from starcli.files.write import write_atomically
from starcli.landscape.measure import Landscape
from starcli.library.calls import library_call
from starcli.plots.draw import draw
from starcli.plots.look import Look
from starcli.plots.rows import ResultRow
from starcli.plots.style import check_format
from starcli.registry.tasks import REGRESSION

Result = Barrier | PairsReport | StarReport | Landscape | ResultTable
"""What is drawn."""


@library_call
def plot(
    results: Result | Mapping[str, Result],
    path: str | PathLike[str],
    *,
    width: str | None = None,
    font: str | None = None,
) -> None:
    """Draw results as the command's `--plot` does; several by name, {"width 4": ..., "width 8": ...}, into one figure.

    results: of `barrier`, `all_pairs`, `star_report`, `plane`, `surface`, `bma` or `evaluate`, or the `.comparison` of
    a fused model.
    path: a .png, .svg or .pdf file. width: of the figure, such as "3.25in" or "8.5cm" (default: 5.5in). font: family,
    size or both, "Times New Roman, 9" (default: DejaVu Sans, 8). Raises StarcliError for results of different kinds and
    what cannot be drawn.

    >>> import starcli as sc, tempfile
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> with tempfile.TemporaryDirectory() as place:
    ...     sc.plot(sc.barrier(a, sc.align(a, b), points=3), f"{place}/ab.pdf", width="3.25in")
    """
    target = as_path(path)
    kind, look = check_format(target), Look.of(width, font)
    named = results if isinstance(results, Mapping) else {"": results}
    rows = {name: [_with_task(row) for row in _rows(found)] for name, found in named.items()}
    write_atomically(target, draw(rows, kind, look))


def _rows(result: Any) -> Iterator[ResultRow]:
    """A result as the JSON objects of its command."""
    match result:
        case Barrier():
            yield {"type": "barrier", **result.to_dict()}
        case PairsReport():
            for (i, j), barrier in zip(result.pairs, result.barriers, strict=True):
                yield {"type": "barrier", "a": result.names[i], "b": result.names[j], **barrier.to_dict()}
            yield {"type": "summary", **result.to_dict()}
        case StarReport():
            for name, group in result.groups.items():
                yield from ({"type": "barrier", "group": name, **barrier.to_dict()} for barrier in group.barriers)
        case Landscape():
            yield {"type": "surface" if len(result.marks) == 1 else "plane", **result.to_dict()}
        case ResultTable():
            yield from ({"type": _type_of(row), **row} for row in result)
        case _:
            known = "barrier, all_pairs, star_report, plane, surface, bma or evaluate"
            raise StarcliError(f"plot: expected a result of {known}, found {type(result).__name__}")


def _type_of(row: ResultRow) -> str:
    """The command that makes such a row of a table."""
    return "bma" if "posterior" in row else "fuse" if "name" in row else "eval"


def _with_task(row: ResultRow) -> ResultRow:
    """A row that says its task, as those of commands do, where its losses are no cross-entropy."""
    parts = [row, *(value for value in row.values() if isinstance(value, Mapping))]
    return {**row, "task": REGRESSION} if any("r2" in part for part in parts) else row
