"""How a process ends that is one of several ranks."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["--nonsense"], 2)])
def test_a_rank_ends_with_its_words_and_its_status(words, status):
    """It takes no interpreter down, in which what is not written yet would be written."""
    environment = {**os.environ, "WORLD_SIZE": "2", "RANK": "0"}
    ran = subprocess.run([sys.executable, "-m", "starcli", *words], env=environment, capture_output=True, text=True)
    assert ran.returncode == status
    assert ("starcli " if status == 0 else "no such option --nonsense") in ran.stdout + ran.stderr
