"""The benchmarks that call functions which no command calls in that way still run."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("section", ["star", "realign", "barrier"])
def test_a_section_runs(section: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    script = Path(__file__).with_name(f"bench_{section}.py")
    threads = ["--threads", "1"] if section == "realign" else []  # the others take one of themselves
    line = [sys.executable, str(script), "--quick", *threads, "--json", str(rows)]
    run = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert rows.stat().st_size > 0
