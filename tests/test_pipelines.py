"""The pipelines of examples/pipelines carry out the right lines, and after a change only those that rest on it.

A stand-in for the program notes its words and makes the files that they name; that its lines do what they say, tests
of the commands show.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.program import ROOT

PIPELINES = ROOT / "examples" / "pipelines"
STAND_IN = f"""#!{sys.executable}
import pathlib, sys
with open("lines", "a") as lines:
    print(*sys.argv[1:], file=lines)
if "-o" in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text("x")
print("{{}}")
"""
SMALL = {"SOURCES": "0 1", "HELD_OUT": "2", "models": "--epochs 1", "star": "--epochs 2", "fused": "--epochs 3"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "starcli"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def lines_of(*words: str, **settings: str) -> list[str]:
    """The lines of `starcli` that a pipeline carries out, sorted."""
    Path("lines").write_text("")
    ran = subprocess.run(words, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return sorted(Path("lines").read_text().splitlines())


def make(**changed: str) -> list[str]:
    """What `make` does with the small settings and these."""
    settings = {**SMALL, **changed}
    return lines_of("make", "-f", str(PIPELINES / "Makefile"), *(f"{name}={value}" for name, value in settings.items()))


SOURCES = "models/0.safetensors models/1.safetensors"
TRAIN = [f"train --epochs 1 --seed {seed} -o models/{seed}.safetensors" for seed in (0, 1, 2)]
STAR = f"star --sources {SOURCES} --epochs 2 -o star.safetensors"
BARRIER = f"barrier --star star.safetensors --sources {SOURCES} --held-out models/2.safetensors --align activation"
BMA = f"bma --star star.safetensors --sources {SOURCES} --samples 5"
FUSE = f"fuse --sources {SOURCES} --epochs 3 -o fused.safetensors"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_runs_what_rests_on_a_change(here: Path) -> None:
    assert make() == sorted([*TRAIN, STAR, BARRIER, BMA, FUSE])
    assert make() == []
    assert make(averages="--samples 3") == [BMA.replace("5", "3")]
    assert make(averages="--samples 3", HELD_OUT="2 3") == sorted(
        [TRAIN[0].replace("0", "3"), BARRIER.replace("2.safetensors", "2.safetensors models/3.safetensors")]
    )
    assert make(averages="--samples 3") == [BARRIER]
    assert make(averages="--samples 3", HELD_OUT="2 3") != []
    Path("models/1.safetensors").unlink()
    assert make(averages="--samples 3", HELD_OUT="2 3") == sorted(
        [TRAIN[1], STAR, BMA.replace("5", "3"), FUSE, BARRIER.replace("2.s", "2.safetensors models/3.s")]
    )


def test_an_array_of_jobs_trains_and_the_next_job_measures(here: Path) -> None:
    script = str(PIPELINES / "slurm.sh")
    assert lines_of("bash", script, SLURM_ARRAY_TASK_ID="2", TRAIN="--epochs 1") == [TRAIN[2]]
    settings = {"SOURCES": SOURCES, "HELD_OUT": "models/2.safetensors", "STAR": "--epochs 2"}
    assert lines_of("bash", script, **settings) == sorted([STAR, BARRIER, BMA, FUSE.replace(" --epochs 3", "")])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("snakemake") is None, reason="Snakemake is not installed")
def test_snakemake_runs_what_rests_on_a_change(here: Path) -> None:
    config = ("sources=[0,1]", "held_out=[2]", "models=--epochs 1", "star=--epochs 2", "fused=--epochs 3")
    words = ("snakemake", "--cores", "1", "-s", str(PIPELINES / "Snakefile"), "--config", *config)
    assert lines_of(*words) == sorted([*TRAIN, STAR, BARRIER, BMA, FUSE])
    assert lines_of(*words) == []
    assert lines_of(*words, "averages=--samples 3") == [BMA.replace("5", "3")]
