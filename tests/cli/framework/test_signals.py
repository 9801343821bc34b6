"""Signals, pipes and full disks, in real processes: what was done is kept, nothing is left half written."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.program import TRAIN, run_here, start_process

from starcli.cli.framework import signals
from starcli.cli.framework.progress_bars import Bars
from starcli.runtime.progress import Progress

LONG = (
    "--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--recipe", "default",
    "--epochs", "250", "--limit", "100", "--seed", "1",
)  # fmt: skip


def wait_for(path, lines):
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count("\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def not_under_nohup():
    """Hangups count, also where the tests themselves were begun with `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.usefixtures("not_under_nohup")
def test_interrupted_twice_and_finished_to_the_same_bytes(tmp_path, monkeypatch):
    """SIGINT is 130, SIGHUP 129; the same line goes on; the end is that of an uninterrupted run.

    SIGTERM, and others twice, are among the trials of tests/reliability, as are full disks.
    """
    monkeypatch.chdir(tmp_path)
    words = ("train", *LONG, "-o", "a.safetensors")
    log = tmp_path / "a.metrics.jsonl"
    for number, expected, rows in ((signal.SIGINT, 130, 20), (signal.SIGHUP, 129, 60)):
        process = start_process(words, cwd=tmp_path)
        wait_for(log, rows)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == expected, err
        assert out == b""
        assert err.decode().startswith("starcli: interrupted")
        assert len(err.decode().splitlines()) == 1
        assert {path.name for path in tmp_path.iterdir()} == {"a.metrics.jsonl", "a.safetensors.state"}
    assert run_here(*words).status == 0
    assert run_here(*words[:-1], "b.safetensors").status == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert log.read_bytes() == (tmp_path / "b.metrics.jsonl").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_closed_pipe_ends_quietly(solutions, tmp_path):
    process = start_process(("inspect", *solutions.some(0, 1, 2, 3, 4)), cwd=tmp_path)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 0


def test_files_are_made_though_nobody_reads_the_results(tmp_path):
    """`train --seeds 0-2 | head -1` trained two of the networks and ended with status 0."""
    process = start_process(("train", *TRAIN, "--seeds", "0-2", "--quiet", "-o", "{seed}.safetensors"), cwd=tmp_path)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {f"{seed}.safetensors" for seed in range(3)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_stdout_is_one_line(solutions):
    with open("/dev/full", "wb") as full:
        import subprocess
        import sys

        from support.program import ROOT

        line = [sys.executable, "-m", "starcli", "inspect", str(solutions[0])]
        ran = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "starcli: stdout: No space left on device\n"


def test_the_first_signal_waits_for_the_loop_and_the_second_does_not():
    watch = Bars(quiet=True)
    with pytest.raises(signals.Leave) as left, signals.handling_signals():  # noqa: PT012
        watch.start("work", 3)
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.stop_signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the second signal must leave")
    assert left.value.signal == signal.SIGTERM


def test_a_signal_outside_a_loop_leaves_at_once():
    with pytest.raises(signals.Leave), signals.handling_signals():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("must leave")


def test_a_signal_that_no_loop_saw_is_obeyed_between_two_pieces_of_work():
    watch = Bars(quiet=True)
    with signals.handling_signals():
        watch.start("one", 1)
        os.kill(os.getpid(), signal.SIGINT)
        watch.finish()
        with pytest.raises(signals.Leave):
            watch.start("two", 1)
    with pytest.raises(signals.Leave), watch:
        pass


@pytest.mark.usefixtures("not_under_nohup")
def test_a_hangup_is_a_signal_to_stop_unless_it_is_ignored_from_the_start():
    watch = Bars(quiet=True)
    with signals.handling_signals():
        watch.start("work", 1)
        os.kill(os.getpid(), signal.SIGHUP)
        assert watch.stop_signal == signal.SIGHUP
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.handling_signals():  # nohup
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with signals.handling_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_forked_worker_leaves_the_decision_to_its_parent():
    with signals.handling_signals():
        signals.listen(Progress())
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)  # ignored
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(3)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 143


def test_an_interrupt_while_the_program_is_read_is_one_line():
    """Ctrl-C in the first half second, before there are commands that could be interrupted."""
    code = """
import sys
from starcli.__main__ import console_script

class Interrupted:
    def find_spec(name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted)
console_script()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "starcli: interrupted\n")
