"""starcli report: the page of a directory, what is counted and left out, what is refused before work."""

import json
import shutil
import subprocess
import sys

import pytest
from support.figures import line, saved
from support.program import ROOT, run_here
from support.refused import refused

import starcli as sc


@pytest.fixture
def runs(place, solutions):
    (place / "runs" / "results").mkdir(parents=True)
    for number in (0, 1):
        shutil.copy(solutions[number], place / "runs")
        shutil.copy(solutions[number].with_suffix("").with_suffix(".metrics.jsonl"), place / "runs")
    ran = run_here("barrier", *solutions.some(0, 1), "--points", "3", "--align", "weight", "--json")
    (place / "runs" / "results" / "ab.jsonl").write_bytes(ran.stdout)
    return place / "runs"


def test_a_directory_becomes_a_page_the_same_from_python(runs, place, solutions):
    ran = run_here("report", "runs", "-o", "pages/report.html")
    assert ran.status == 0, ran.err
    assert ran.rows == [
        {"schema": 1, "type": "report", "files": 2, "results": 1, "logs": 2, "output": "pages/report.html"}
    ]
    page = (place / "pages" / "report.html").read_text()
    assert page == sc.report("runs")
    assert "<h1>runs</h1>" in page
    assert "<h3>results/ab</h3>" in page
    assert f"starcli barrier {solutions[0]}" in page.replace("<span>", "").replace("</span>", "")
    files = sorted(runs.rglob("*.*"))
    named = run_here("report", *files, "-o", "named.html", "--title", "mine & yours")
    assert named.rows[0]["results"] == 1
    assert "<title>mine &amp; yours</title>" in (place / "named.html").read_text()


def test_what_is_left_out_is_said(runs, place):
    (runs / "notes.jsonl").write_text("not ours\n")
    (runs / "cut.safetensors").write_bytes(b"\x08")
    (runs / "config.json").write_text("{}")
    ran = run_here("report", "runs", "-o", "report.html")
    assert ran.status == 0
    assert ran.err.count("note: left out: ") == 2
    assert "left out: notes.jsonl: line 1 is not JSON" in ran.err
    assert "cut.safetensors" in (place / "report.html").read_text()


def test_the_first_object_of_a_command_has_the_line(solutions):
    ran = run_here("eval", *solutions.some(0, 1), "--json")
    first, second = map(json.loads, ran.out.splitlines())
    assert first["command"] == f"starcli eval {solutions[0]} {solutions[1]} --json"
    assert "command" not in second
    assert run_here("eval", "--format", "csv", solutions[0]).out.splitlines()[0].count("command") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "-o", "a.html"), "nowhere: cannot read"),
        (("runs", "-o", "a.pdf"), "a.pdf: a report is a page, whose name ends in .html"),
        (("runs", "runs", "-o", "a.html"), "given twice"),
        (("empty", "-o", "a.html"), "empty: no checkpoint and no saved results to report"),
        (("runs/results/x.html", "-o", "runs/results/x.html"), "is an input"),
        (("runs/results/x.html", "-o", "a.html"), "is not JSON"),
    ],
)
def test_refused(words, said, runs, place):
    (place / "empty").mkdir()
    (runs / "results" / "x.html").write_text("<p>")
    refused(run_here("report", *words), said)
    assert not (place / "a.html").exists()
    assert (runs / "results" / "x.html").read_text() == "<p>"


def test_reading_needs_no_torch_and_no_matplotlib(place):
    (place / "a.jsonl").write_text(saved([line("a", "b")]))
    code = (
        "import sys; sys.argv = ['starcli', 'report', 'a.jsonl', '-o', 'a.html']\n"
        "from starcli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd=place,
    )
    assert done.stdout.splitlines()[-1] == "[]"
