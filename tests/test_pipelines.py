"""The pipelines of examples/pipelines carry out the right lines, and after a change only those that rest on it.

A stand-in for the program notes its words and makes the files that they name; that its lines do what they say, tests
of the commands show.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, "requeue 7\n"), (signal.SIGTERM, "")])
def test_a_job_whose_time_is_nearly_over_saves_and_queues_itself_again(here: Path, number: int, requeued: str) -> None:
    """USR1 comes to the script alone, TERM to its children too: each run is told once, as twice ends it at once."""
    saving = "echo told >> told; sleep 0.2; echo saved >> told; kill $! || true; exit 143"
    programs = {"starcli": f"trap '{saving}' TERM; sleep 30 & touch began; wait", "scontrol": 'echo "$@" > requeued'}
    for name, program in programs.items():
        (here / "bin" / name).write_text(f"#!/bin/bash\n{program}\n")
        (here / "bin" / name).chmod(0o755)
    job = {**os.environ, "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "7"}
    process = subprocess.Popen(["bash", str(PIPELINES / "slurm.sh")], env=job, start_new_session=True)
    deadline = time.monotonic() + 20
    while not Path("began").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if number == signal.SIGUSR1:
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)
    assert process.wait(20) == 143
    assert Path("told").read_text() == "told\nsaved\n"
    assert (Path("requeued").read_text() if Path("requeued").exists() else "") == requeued


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("snakemake") is None, reason="Snakemake is not installed")
def test_snakemake_runs_what_rests_on_a_change(here: Path) -> None:
    config = ("sources=[0,1]", "held_out=[2]", "models=--epochs 1", "star=--epochs 2", "fused=--epochs 3")
    words = ("snakemake", "--cores", "1", "-s", str(PIPELINES / "Snakefile"), "--config", *config)
    assert lines_of(*words) == sorted([*TRAIN, STAR, BARRIER, BMA, FUSE])
    assert lines_of(*words) == []
    assert lines_of(*words, "averages=--samples 3") == [BMA.replace("5", "3")]
