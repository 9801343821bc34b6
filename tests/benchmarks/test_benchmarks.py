"""The benchmarks that call functions which no command calls in that way still run."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("words", ["star", "realign --threads 1", "barrier"])  # the others take one of themselves
def test_a_section_runs(words: str, tmp_path: Path) -> None:
    section, *options = words.split()
    rows = tmp_path / "rows.json"
    script = Path(__file__).with_name(f"bench_{section}.py")
    line = [sys.executable, str(script), *options, "--quick", "--json", str(rows)]
    run = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert rows.stat().st_size > 0
