"""Runs a sample of the reliability trials in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path


def sample(name: str) -> dict[str, tuple[int, list[str]]]:
    """Case -> number of trials and what was wrong, of `python -m tests.reliability.sample NAME`."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-W", "ignore", "-m", "tests.reliability.sample", name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {case: (trials, defects) for case, trials, defects in rows}
