"""A page of models and results from Python."""

from collections.abc import Iterable, Sequence
from os import PathLike

from starcli.errors import StarcliError
from starcli.files.names import as_path
from starcli.files.write import write_atomically
from starcli.library.calls import library_call
from starcli.library.notes import Watcher
from starcli.reports.findings import find
from starcli.reports.page import render_page


@library_call
def report(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    path: str | PathLike[str] | None = None,
    *,
    title: str | None = None,
) -> str:
    """The HTML of one page of models and results, written to `path` where that is given: see `starcli report`.

    paths: a directory, or several, or files: checkpoints, JSON lines that commands saved, logs of runs. title: that of
    the page (default: the directory's name). Raises StarcliError where nothing is found, and for a file that cannot be
    read.

    >>> import starcli as sc, tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     saved = sc.save(sc.train("mlp", "digits", epochs=1, limit=60), f"{place}/0.safetensors")
    ...     page = sc.report(place, f"{place}/report.html", title="first try")
    >>> page[:15], "<title>first try</title>" in page
    ('<!DOCTYPE html>', True)
    """
    places = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]
    named = [as_path(place) for place in places]
    if not named:
        raise StarcliError("report: no file or directory is given")
    if missing := [str(place) for place in named if not place.exists()]:
        raise StarcliError(f"{missing[0]}: no such file or directory")
    found = find(named, title)
    for line in found.left_out:
        Watcher().note(f"left out: {line}")
    page = render_page(found)
    if path is not None:
        write_atomically(as_path(path), page.encode())
    return page
