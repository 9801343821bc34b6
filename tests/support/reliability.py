"""Runs a sample of the reliability trials in a process of its own."""

import json
import subprocess
import sys

from support.program import ROOT

Found = dict[str, tuple[int, list[str]]]
"""Case -> number of trials and what was wrong."""


def sample(*names: str) -> dict[str, Found]:
    """What `python -m tests.reliability.sample NAME...` found, by name; together they cost one start."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.reliability.sample", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Found] = {name: {} for name in names}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            name, case, trials, defects = json.loads(line)
            found[name][case] = (trials, defects)
    return found
