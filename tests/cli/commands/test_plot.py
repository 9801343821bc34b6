"""starcli plot: the figures of saved results are those of --plot; files that hold none are one line of error."""

import subprocess
import sys

import pytest
from support.figures import all_pairs, epochs, line, model_rows, posterior_rows, saved
from support.program import ROOT, run_here
from support.refused import refused


@pytest.mark.parametrize(
    "words",
    [
        ("barrier", "{0}", "{1}", "--align", "weight"),
        ("barrier", "{0}", "{1}", "{2}", "--align", "none"),
        ("barrier", "{0}", "{1}", "{2}", "--all-pairs", "--align", "none"),
        ("barrier", "--star", "{star}", "--sources", "{0}", "{1}", "--held-out", "{3}", "--points", "3"),
        ("bma", "--star", "{star}", "--sources", "{0}", "{1}", "--samples", "2", "--repeats", "2"),
        ("eval", "{0}", "{star}"),
        ("fuse", "--sources", "{0}", "{1}", "-o", "fused.safetensors", "--epochs", "1"),
    ],
)
def test_saved_results_are_drawn_as_measured_ones(words, solutions, star, place):
    paths = [str(path) for path in solutions.some(0, 1, 2, 3)]
    ran = run_here(*(word.format(*paths, star=star) for word in words), "--plot", "measured.svg")
    assert ran.status == 0, ran.err
    (place / "saved.jsonl").write_bytes(ran.stdout)
    again = run_here("plot", "saved.jsonl", "-o", "drawn.svg")
    assert again.status == 0, again.err
    assert (place / "drawn.svg").read_bytes() == (place / "measured.svg").read_bytes()
    [row] = again.rows
    assert row["figure"].startswith(words[0])
    assert (row["rows"], row["output"]) == (len(ran.rows), "drawn.svg")


def test_a_pipe_several_files_and_how_they_look(place):
    (place / "a.jsonl").write_text(saved([line("a", "b", 0.5)]))
    (place / "b.json").write_text(saved([line("a", "b", 0.7)]))
    assert run_here("plot", "-", "-o", "p.svg", stdin=saved([line("a", "b")]).encode()).status == 0
    look = ("--figure-width", "85mm", "--figure-font", "STIXGeneral, 9")
    assert run_here("plot", "a.jsonl", "b.json", "-o", "two.svg", *look).status == 0
    drawn = (place / "two.svg").read_text()
    assert ">a: 0.50 / 0.50<" in drawn
    assert ">b: 0.70 / 0.70<" in drawn
    assert 'width="240.9' in drawn  # 85 mm in points
    assert "STIXGeneral" in drawn
    assert run_here("plot", "a.jsonl", "-o", "new/place/a.pdf").status == 0


def test_logs_of_runs_and_other_results(place):
    (place / "0.metrics.jsonl").write_text(saved(epochs(4)))
    (place / "1.metrics.jsonl").write_text(saved(epochs(4)))
    assert run_here("plot", "0.metrics.jsonl", "1.metrics.jsonl", "-o", "runs.svg").rows[0]["figure"] == "training"
    assert ">1</text>" in (place / "runs.svg").read_text()
    for rows in (all_pairs(["a", "b"]), model_rows(["a"]), posterior_rows(1)):
        assert run_here("plot", "-", "-o", "x.pdf", stdin=saved(rows).encode()).status == 0


GOOD = saved([line("a", "b")])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no results"),
        ("\n\n", "holds no results"),
        ("barriers  pairs\n", "line 1 is not JSON: results are saved with --json"),
        ("\x02\0\0\0\0\0\0\0{}", "is a checkpoint: results are saved with --json"),
        ("%PDF-1.4", "is a figure: results are saved with --json"),
        (GOOD + GOOD[:70], "its last line is cut off (line 2)"),
        (GOOD.replace('"schema": 1', '"schema": 2'), "line 1 has schema 2, this program reads 1"),
        ('{"type": "barrier"}\n', "line 1 is not a result of starcli: it has no schema"),
        ("[1, 2]\n", "line 1 is not a result of starcli"),
        (100_000 * "[", "is not JSON"),
        (GOOD + saved(model_rows(["a"])), "one figure shows one kind of results, found barrier, eval"),
        ('{"schema": 1, "type": "align"}\n', "no figure shows results of type align"),
        ('{"schema": 1, "type": "barrier"}\n', "a result cannot be drawn: t: field required"),
    ],
)
def test_files_without_results(content, words, place):
    (place / "x.jsonl").write_text(content)
    refused(run_here("plot", "x.jsonl", "-o", "x.svg"), words)
    assert not (place / "x.svg").exists()


def test_words_are_checked_first(place):
    (place / "x.jsonl").write_text(GOOD)
    (place / "binary.jsonl").write_bytes(bytes(range(256)))
    refused(run_here("plot", "binary.jsonl", "-o", "x.svg"), "is not JSON")
    refused(run_here("plot", "missing.jsonl", "-o", "x.svg"), "missing.jsonl")
    refused(run_here("plot", "x.jsonl", "-o", "x.jpg"), "cannot draw a figure of that type")
    refused(run_here("plot", "x.jsonl", "x.jsonl", "-o", "x.svg"), "twice")
    refused(run_here("plot", "x.jsonl", "-o", "x.svg", "--figure-width", "3"), "such as 3.25in")
    refused(run_here("plot", "x.jsonl", "-o", "x.svg", "--figure-font", "Nonesuch"), "'Nonesuch' is not installed")
    refused(run_here("barrier", "x.jsonl", "binary.jsonl", "--figure-width", "3in"), "belong to --plot")
    assert not (place / "x.svg").exists()


def test_no_torch_is_needed(place):
    (place / "x.jsonl").write_text(GOOD)
    code = (
        f"import sys; sys.argv = ['starcli', 'plot', {str(place / 'x.jsonl')!r}, '-o', {str(place / 'x.png')!r}]\n"
        "from starcli.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stderr.strip() == "False"
    assert (place / "x.png").exists()
