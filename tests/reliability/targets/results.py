"""What the program itself wrote, or a user: results, logs, the cache, project files, words of options."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from starcli.cli.framework.project_file import find_project_file
from starcli.cli.options.values import pairs
from starcli.errors import StarcliError
from starcli.files.cache import hash_json, recall, remember
from starcli.files.metrics_log import MetricsLog
from starcli.files.result_lines import read_results
from starcli.files.run_logs.csv_log import CsvLog
from starcli.files.run_logs.targets import RunFacts
from starcli.merging.merge import Merge, parse_override
from starcli.plots.draw import draw
from starcli.reports.findings import find
from starcli.reports.page import render_page

from .target import Target

# -- readers -----------------------------------------------------------------------------------------------------------


def _page(path: Path) -> None:
    render_page(find([path]))


def _figure(path: Path) -> None:
    draw(read_results([path]), "svg")


def _log(path: Path) -> None:
    """A run goes on after it: what it writes can be read, and has its own last line."""
    with contextlib.suppress(StarcliError):
        read_results([path])
    MetricsLog(path.with_name("0.safetensors")).record({"epoch": 2, "loss": 0.5})
    [rows] = read_results([path]).values()
    assert rows[-1] == {"epoch": 2, "loss": 0.5}


def _table(path: Path) -> None:
    CsvLog("", RunFacts(path.with_name("0.safetensors"))).record(2, {"loss": 0.5})


def _project(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        found = find_project_file()
        assert found is not None
        found.defaults()
        found.used(dict.fromkeys(found.defaults(), True))
        found.to_json()
        pairs(found.defaults().get("arch_args", []))
    finally:
        os.chdir(here)


KEY, VALUE = hash_json("a key"), {"loss": [0.5, 2.25], "none": None, "words": "é", "figures": {"steps": 3}}
"""What the cache keeps."""


def _entry(path: Path) -> None:
    """An entry of the cache counts as none unless it is the sound one."""
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(path.parent)}):
        remember("specs", KEY, VALUE)
        [entry] = (path.parent / "starcli" / "specs").iterdir()
        sound, content = entry.read_bytes(), path.read_bytes()
        entry.write_bytes(content)
        found: Any = recall("specs", KEY)
        assert found == (VALUE if content == sound else None), found


def _override(content: bytes) -> None:
    override = parse_override(content.decode("utf-8", "replace"))
    for method in ("linear", "ties"):
        merge = Merge.of(method, {}, [override])
        for check in (lambda merge=merge: merge.check(2, base=merge.how.base), lambda merge=merge: merge.record()):
            with contextlib.suppress(StarcliError):
                check()
        with contextlib.suppress(StarcliError):
            merge.check(2, base=merge.how.base)
            merge.settings_for(("layer.0.mlp.weight", "head.bias"), 2)


def _arguments(content: bytes) -> None:
    pairs(content.decode("utf-8", "replace").split("\n"))


# -- sound inputs ------------------------------------------------------------------------------------------------------

SAVED = Path(__file__).parent / "saved_results"
"""Lines that commands printed."""

PROJECT = b"""arch = "mlp"
arch-arg = { hidden_dim = 16, batch_norm = true, activation = "relu", rate = 0.5 }
data = "table:packages.csv"
limit = 100
val-fraction = 0.1
normalise = "0.5:0.25"
task = "regression"
"""
OVERRIDES = (b"*.mlp.*:weights=0.2,0.8:density=0.5", b"head.[ab]*:weights=1")
ARGUMENTS = b"hidden_dim=16\nbatch-norm=true\nactivation=relu\nrate=5e-1\nshape=2001-01-01"


def _cache_entry() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": place}):
        remember("specs", KEY, VALUE)
        [entry] = Path(place, "starcli", "specs").iterdir()
        return entry.read_bytes()


def targets() -> Iterator[Target]:
    """Their readers."""
    saved = {path.stem: path.read_bytes() for path in sorted(SAVED.iterdir())}
    yield Target("results, on a page", [*saved.values()], _page, ".jsonl")
    drawn = [content for name, content in saved.items() if name != "curve"]
    yield Target("results, drawn", drawn, _figure, ".jsonl", every=100)
    yield Target("log of a run", [saved["training"]], _log, "/0.metrics.jsonl")
    yield Target("table of a run", [b"epoch,loss,accuracy\n0,2.5,0.1\n1,2.25,0.5\n"], _table, "/0.metrics.csv")
    yield Target("project file", [PROJECT], _project, "/starcli.toml", {"packages.csv": b""})
    yield Target("entry of the cache", [_cache_entry()], _entry, "/entry.json")
    yield Target("words of --overrides", [*OVERRIDES], _override)
    yield Target("words of --arch-arg", [ARGUMENTS], _arguments)
