"""The benchmarks that call functions which no command calls in that way still run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest


def words_of(section: str, rows: Path) -> list[str]:
    return [str(Path(__file__).with_name(f"bench_{section}.py")), "--quick", "--json", str(rows)]


@pytest.mark.slow
@pytest.mark.parametrize("words", ["star", "realign --threads 1"])  # the others take one of themselves
def test_a_section_runs(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section, *options = words.split()
    rows = tmp_path / "rows.json"
    line = words_of(section, rows)
    monkeypatch.setattr(sys, "argv", [*line, *options])
    monkeypatch.syspath_prepend(Path(__file__).parent)
    runpy.run_path(line[0], run_name="__main__")
    assert rows.stat().st_size > 0


@pytest.mark.slow
def test_a_section_that_starts_processes_of_its_own_runs(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    line = [sys.executable, *words_of("barrier", rows)]
    run = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert rows.stat().st_size > 0
