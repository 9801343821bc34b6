"""Standard streams that are closed, torn, full of others' lines or of another encoding, in real processes."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from support.program import ROOT, run_process


def run_redirected(redirection, *words):
    """Run a line of starcli in a shell that redirects its streams."""
    line = [sys.executable, "-m", "starcli", *map(str, words)]
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", *line]
    return subprocess.run(shell, capture_output=True, cwd=ROOT, stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize(
    ("redirection", "shows"), [("2>&-", True), (">&-", False), ("<&- >&- 2>&-", False), ("<&- 2>&-", True)]
)
def test_a_closed_stream_is_no_error_and_its_number_goes_to_no_file(redirection, shows, solutions):
    words = ("inspect", solutions[0], solutions[1], "--format", "csv")
    ran = run_redirected(redirection, *words)
    assert ran.returncode == 0
    assert ran.stderr == b""
    assert ran.stdout == (run_redirected("", *words).stdout if shows else b"")


def test_results_are_utf8_whatever_the_locale_says(solutions, tmp_path):
    shutil.copy(solutions[0], tmp_path / "ж.safetensors")
    for form in ("json", "table"):
        words = ("inspect", "ж.safetensors", "--format", form)
        usual, ascii_ = (run_process(*words, cwd=tmp_path, env={"PYTHONIOENCODING": name}) for name in ("", "ascii"))
        assert (ascii_.status, ascii_.err) == (0, "")
        assert "ж" in ascii_.out
        assert ascii_.stdout == usual.stdout


def test_a_line_is_one_write_so_that_lines_of_several_processes_do_not_mix(solutions):
    """Each write to a socket of packets is one of them; the rows are longer than Python's buffer of 8 kB."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        line = [sys.executable, "-m", "starcli", "inspect", *([str(solutions[0])] * 300)]
        process = subprocess.Popen(line, stdout=theirs, cwd=ROOT)
        theirs.close()
        packets = [packet.decode() for packet in iter(lambda: ours.recv(10**6), b"")]
        assert process.wait(60) == 0
    assert len(packets) == 300
    assert len(packets[0]) > 8192
    for packet in packets:
        assert packet.endswith("\n")
        json.loads(packet)


def test_help_and_a_working_directory_that_is_gone_are_one_line(tmp_path):
    if os.path.exists("/dev/full"):
        ran = run_redirected(">/dev/full", "--help")
        assert (ran.returncode, ran.stderr) == (1, b"starcli: stdout: No space left on device\n")
    program = f"import os, sys; os.rmdir({str(tmp_path)!r}); from starcli.cli.main import main; main()"
    line = [sys.executable, "-c", program, "eval", "x.safetensors"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    gone = subprocess.run(line, capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert (gone.returncode, gone.stderr) == (1, b"starcli: the working directory: No such file or directory\n")
