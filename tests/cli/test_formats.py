"""The forms of results through the commands: the same rows in each, read back by what they are for."""

import csv
import io
import json
import re

import pytest
from support.program import run_here
from support.refused import refused

LINES = {
    "eval": ["eval", "m0", "m1"],
    "barrier": ["barrier", "m0", "m1", "m2", "--points", "3", "--align", "weight"],
    "pairs": ["barrier", "m0", "m1", "m2", "--points", "3", "--align", "none", "--all-pairs"],
    "star": ["barrier", "--star", "m0", "--sources", "m1", "m2", "--held-out", "m3", "m4", "--points", "3"],
    "inspect": ["inspect", "m0", "--lineage"],
    "inspect several": ["inspect", "m0", "m1"],
    "spec list": ["spec", "list"],
    "spec explain": ["spec", "explain", "--arch", "mlp", "--data", "digits"],
    "spec check": ["spec", "check", "--arch", "mlp", "--data", "digits"],
}


@pytest.fixture(params=LINES)
def words(request, solutions):
    return [solutions[int(word[1])] if re.fullmatch(r"m\d", word) else word for word in LINES[request.param]]


def flat(row, before=""):
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        elif key != "schema":
            yield f"{before}{key}", value


def test_csv_has_what_json_has(words):
    wanted = [dict(flat(row)) for row in run_here(*words, "--format", "json").rows]
    found = list(csv.DictReader(io.StringIO(run_here(*words, "--format", "csv").out)))
    assert len(found) == len(wanted)
    for line, row in zip(found, wanted, strict=True):
        for key, value in row.items():
            if value is None:
                assert line.get(key, "") == ""
            else:
                assert (line[key] if isinstance(value, str) else json.loads(line[key])) == value
        assert all(cell == "" for key, cell in line.items() if key not in row)


def test_pandas_reads_barriers_as_the_documents_say(solutions):
    pandas = pytest.importorskip("pandas")
    line = ("barrier", *solutions.some(0, 1, 2), "--points", "3", "--format")
    rows = pandas.read_csv(io.StringIO(run_here(*line, "csv").out))
    lines = rows[rows["type"] == "barrier"]
    wanted = [row for row in run_here(*line, "json").rows if row["type"] == "barrier"]
    # pandas 2 reads the last bit of a number otherwise, unless float_precision="round_trip"
    expected = [row["train"]["loss_barrier"] for row in wanted]
    assert lines["train.loss_barrier"].tolist() == pytest.approx(expected, rel=1e-14)
    assert lines["train.loss"].map(json.loads).tolist() == [row["train"]["loss"] for row in wanted]


def test_latex_is_whole(words):
    text = run_here(*words, "--format", "latex").out
    blocks = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n\\toprule\n(.*?)\\bottomrule\n\\end\{tabular\}", text, re.S)
    assert len(blocks) == text.count(r"\begin{tabular}") > 0
    for sides, block in blocks:
        rows = [line for line in block.splitlines() if line != r"\midrule"]
        assert len(rows) >= 2
        for row in rows:
            assert row.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", row)) == len(sides) - 1
            assert not re.search(r"(?<!\\)[%#_]", row)
    outside = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", "", text, flags=re.S)
    assert all(line.startswith("%") for line in outside.splitlines() if line)


def test_markdown_is_whole(words):
    lines = run_here(*words, "--format", "markdown").out.splitlines()
    heads = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( -+:? \|)+", line)]
    assert heads
    for number in heads:
        count = lines[number].count("|")
        place = number - 1
        while place < len(lines) and lines[place].startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", lines[place])) == count
            place += 1
        assert place > number + 1


def test_a_table_in_a_pipe_has_the_numbers_of_the_terminal(solutions, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    line = ("eval", *solutions.some(0, 1))
    terminal = re.sub("\x1b\\[[0-9;]*m", "", run_here(*line, tty=True).out)
    assert run_here(*line, "--format", "table").out == terminal


def test_results_beside_a_checkpoint_on_stdout_keep_their_form(solutions):
    ran = run_here("permute", solutions[0], "--random", "-o", "-", "--format", "csv")
    assert ran.stdout[8:9] == b"{"
    assert ran.err.startswith("type,model,by,inverted,output,moved\npermute,0.safetensors,")


def test_rows_appear_though_the_command_fails_later(solutions, place):
    (place / "bad.safetensors").write_bytes(b"")
    ran = run_here("inspect", solutions[0], "bad.safetensors", "--format", "csv")
    assert ran.status == 1
    assert "inspect,0.safetensors," in ran.out


def test_a_wrong_form_is_refused_before_any_work(solutions):
    refused(run_here("eval", solutions[0], "--json", "--format", "markdown"), "--format markdown is said too")
    assert run_here("eval", solutions[0], "--json", "--format", "json").status == 0
