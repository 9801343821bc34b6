"""Results as tables and JSON lines, progress and notes on stderr."""

import io
import json
import math
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starcli.cli.framework import progress_bars
from starcli.cli.framework.results import RESULT_FORMATS, Column, Results, json_line

COLUMNS = (
    Column("file", "file", "name"),
    Column("a.loss", "loss", ".3f"),
    Column("how", "how", common=True),
    Column("extra", "extra words", optional=True),
    Column("curve", "curve", "spark"),
    Column("range", "95%", "range", optional=True),
)
ROW = {
    "file": "x.safetensors",
    "a": {"loss": 0.12345},
    "how": "well",
    "extra": "e" * 40,
    "curve": [1, 2],
    "range": [0, 1],
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    def make(width: int) -> Terminal:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return make


def shown(rows):
    with Results("table") as results:
        for row in rows:
            results.add("thing", row, COLUMNS)
    return sys.stdout.getvalue()


def test_a_table(terminal):
    terminal(120)
    text = shown([ROW, {**ROW, "file": "y.safetensors", "a": {}}])
    assert "0.123" in text
    assert ".safetensors" not in text
    assert "▁█" in text
    assert "how: well" in text
    assert "0.0000 to 1.0000" in text
    assert "–" in text


def test_what_does_not_fit_is_left_out(terminal):
    terminal(30)
    text = re.sub("\x1b\\[[0-9;]*m", "", shown([ROW]))
    table, _, below = text.partition("left out for width: ")
    assert "95%" not in table
    assert "extra words" not in table
    assert " ".join(below.split()).startswith("extra words, 95%;")
    assert "0.123" in text
    assert max(map(len, text.splitlines())) <= 30


def test_what_differs_is_a_column(terminal):
    terminal(120)
    assert "how:" not in shown([ROW, {**ROW, "how": "badly"}])


def test_columns_without_a_value_are_left_out(terminal):
    terminal(120)
    assert "95%" not in shown([{**ROW, "range": None}])


def test_rows_are_shown_even_after_an_error(terminal):
    terminal(120)
    with pytest.raises(ZeroDivisionError), Results("table") as results:  # noqa: PT012
        results.add("thing", ROW, COLUMNS)
        raise ZeroDivisionError
    assert "0.123" in sys.stdout.getvalue()


def test_json_on_a_terminal_leaves_at_once(terminal):
    out = terminal(120)
    results = Results("json")
    results.add("thing", ROW, COLUMNS)
    assert json.loads(out.getvalue()) == {"schema": 1, "type": "thing", **ROW}


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("form", RESULT_FORMATS)
def test_a_closed_pipe_ends_the_results_and_with_them_what_makes_no_files(monkeypatch, form):
    monkeypatch.setattr(sys, "stdout", Closed())
    with Results(form, beside_files=True) as results:
        for _ in range(2):
            results.add("thing", ROW, COLUMNS)
    with pytest.raises(BrokenPipeError), Results(form) as results:
        results.add("thing", ROW, COLUMNS)


# -- forms -------------------------------------------------------------------------------------------------------------


def written(monkeypatch, form, *rows, stream=None, **environment):
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stream or io.StringIO())
    with Results(form) as results:
        for kind, row in rows:
            results.add(kind, row, COLUMNS)
        results.text("a tree\n└── of two")
    return sys.stdout.getvalue()


def test_a_pipe_gets_json_lines_unless_told_otherwise(monkeypatch):
    [line] = written(monkeypatch, None, ("thing", ROW)).splitlines()
    assert json.loads(line) == {"schema": 1, "type": "thing", **ROW}


@pytest.mark.parametrize("columns", ["", "0", "wide"])
def test_a_table_in_a_pipe_has_all_columns_and_no_colours(monkeypatch, columns):
    text = written(monkeypatch, "table", ("thing", ROW), COLUMNS=columns, FORCE_COLOR="1", TERM="xterm-256color")
    assert "e" * 40 in text
    assert "left out" not in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 120
    assert text.endswith("└── of two\n")


def test_a_table_in_a_pipe_is_as_wide_as_asked(monkeypatch):
    text = written(monkeypatch, "table", ("thing", ROW), COLUMNS="40")
    assert max(map(len, text.splitlines())) <= 40
    assert "left out for width: 95%;" in text
    assert "left out" in written(monkeypatch, "table", ("thing", ROW), COLUMNS="1")


def test_csv_is_one_table_of_all_rows(monkeypatch):
    text = written(monkeypatch, "csv", ("thing", ROW), ("sum", {"count": 1, "a": {"loss": math.inf}}))
    assert text.splitlines() == [
        "type,file,a.loss,how,extra,curve,range,count",
        f'thing,x.safetensors,0.12345,well,{"e" * 40},"[1, 2]","[0, 1]",',
        "sum,,,,,,,1",
    ]


def test_latex_and_markdown_have_every_column_and_keep_text_apart(monkeypatch):
    latex = written(monkeypatch, "latex", ("thing", ROW), ("sum", ROW), stream=Terminal(), COLUMNS="30")
    assert latex.count("\\begin{tabular}{lrll}\n") == 2
    assert "% └── of two" in latex
    markdown = written(monkeypatch, "markdown", ("thing", ROW), stream=Terminal(), COLUMNS="30")
    assert "| file | loss | extra words | curve | 95% |\n| --- | ---: | --- | --- | --- |\n| x | 0.123 |" in markdown
    assert markdown.endswith("```text\na tree\n└── of two\n```\n")


@pytest.mark.parametrize("form", RESULT_FORMATS)
def test_no_rows_are_no_output(monkeypatch, form):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with Results(form):
        pass
    assert sys.stdout.getvalue() == ""


@pytest.mark.parametrize("form", RESULT_FORMATS)
def test_rows_appear_in_every_form_though_the_command_fails_later(monkeypatch, form):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(ZeroDivisionError), Results(form) as results:  # noqa: PT012
        results.add("thing", ROW, COLUMNS)
        raise ZeroDivisionError
    assert "0.123" in sys.stdout.getvalue()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text().filter(lambda key: key not in ("schema", "type")), json_values, max_size=4))
def test_every_line_is_strict_json_in_one_line(row):
    text = json_line("thing", row)
    assert "\n" not in text

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert list(found)[:2] == ["schema", "type"]
    assert set(found) == {"schema", "type", *row}


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
    return now


def drawn(monkeypatch, clock, *, quiet=False, tty=True):
    stream = Terminal() if tty else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars.Bars(quiet=quiet) as watch:
        watch.start("aligning things", 4)
        watch.step()
        early = stream.getvalue()
        clock[0] += 2
        watch.step(step=320, of=12000, loss=0.5)
        if watch._bar is not None:
            watch._bar.refresh()
        watch.note("mind the gap")
        watch.finish()
    return early, stream.getvalue()


def test_a_bar_appears_after_a_second_on_a_terminal(monkeypatch, clock):
    early, late = drawn(monkeypatch, clock)
    assert early == ""
    assert "aligning things" in late
    assert "2/4" in late
    assert "step 320  of 12000  loss 0.5" in late
    assert "note: mind the gap" in late


def test_no_bar_where_stderr_is_no_terminal(monkeypatch, clock):
    assert drawn(monkeypatch, clock, tty=False) == ("", "note: mind the gap\n")


def test_a_terminal_that_is_gone_ends_the_drawing_and_not_the_work(monkeypatch, clock):
    class Gone(Terminal):
        def write(self, text):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars.Bars() as watch:
        watch.start("aligning things", 4)
        clock[0] += 2
        for _ in range(4):
            watch.step()
        watch.note("mind the gap")
        watch.finish()


def test_quiet_is_quiet(monkeypatch, clock):
    assert drawn(monkeypatch, clock, quiet=True) == ("", "")


# -- what fits ---------------------------------------------------------------------------------------------------------


MEASURED = (
    Column("name", "posterior"),
    Column("accuracy", "accuracy", ".2%"),
    Column("accuracy_std", "±", ".2%", optional=1),
    Column("nll", "loss", ".4f"),
    Column("nll_std", "±", ".4f", optional=2),
    Column("auroc", "AUROC", ".3f"),
    Column("aurc", "AURC", ".4f", optional=3),
)
METRICS = {"accuracy": 0.5, "accuracy_std": 0.1, "nll": 1.0, "nll_std": 0.1, "auroc": 0.9, "aurc": 0.1}


def plain(terminal, width, rows, columns=MEASURED):
    terminal(width)
    with Results("table") as results:
        for row in rows:
            results.add("thing", row, columns)
    return re.sub("\x1b\\[[0-9;]*m", "", sys.stdout.getvalue())


@pytest.mark.parametrize("width", range(24, 100, 4))
def test_no_word_of_the_first_column_is_broken_and_nothing_goes_unsaid(terminal, width):
    text = plain(terminal, width, [{"name": "ensemble", **METRICS}, {"name": "aligned_mean", **METRICS}])
    assert max(map(len, text.splitlines())) <= width
    for word in ("posterior", "ensemble", "aligned_mean"):
        assert re.search(rf"^ {word} ", text, re.MULTILINE), text
    table, _, below = text.partition("left out for width: ")
    below = " ".join(below.split())
    for heading in ("accuracy", "loss", "AUROC", "AURC"):
        assert (heading in table.splitlines()[1]) != (re.search(rf"(^|, ){heading}[,;]", below) is not None), text
    assert table.splitlines()[1].count("±") + below.count("±") == 2
    assert not below or below.endswith("--format json has all")


def test_what_goes_first_is_what_matters_least(terminal):
    rows = [{"name": "ensemble", **METRICS}]
    headings = [plain(terminal, width, rows).splitlines()[1].split() for width in (80, 54, 48, 40)]
    assert headings[0] == ["posterior", "accuracy", "±", "loss", "±", "AUROC", "AURC"]
    assert headings[1] == ["posterior", "accuracy", "±", "loss", "±", "AUROC"]
    assert headings[2] == ["posterior", "accuracy", "±", "loss", "AUROC"]
    assert headings[3] == ["posterior", "accuracy", "loss", "AUROC"]
    below = " ".join(plain(terminal, 48, rows).split())
    assert below.endswith("left out for width: ± of loss, AURC; --format json has all")


def test_long_names_go_on_in_a_second_line_before_a_column_goes(terminal):
    text = plain(terminal, 72, [{"name": "regular-regular (unaligned)", **METRICS}])
    assert "AURC" in text.splitlines()[1]
    assert re.search(r"^ regular-regular +50", text, re.MULTILINE)
    assert re.search(r"^ \(unaligned\) *$", text, re.MULTILINE)


def test_words_among_numbers_are_said_below(terminal):
    undecided = {**METRICS, "auroc": "not decided", "aurc": "not decided"}
    text = plain(terminal, 80, [{"name": "a", **undecided}, {"name": "b", **undecided}])
    assert "AUROC, AURC: not decided" in text
    assert "AUROC" not in text.splitlines()[1]
    text = plain(terminal, 80, [{"name": "a", **undecided}, {"name": "b", **METRICS}])
    assert "AUROC, AURC: – is not decided" in text
    assert "0.900" in text


def test_curves_of_a_table_share_one_scale(terminal):
    columns = (Column("name", "name"), Column("curve", "curve", "spark"))
    curves = {"high": [0.0, 0.7, 0.0], "low": [0.0, 0.2, 0.0], "none": None}
    text = plain(terminal, 80, [{"name": name, "curve": curve} for name, curve in curves.items()], columns)
    assert "▁█▁" in text
    assert "▁▃▁" in text


def test_an_interval_without_ends_is_a_dash(terminal):
    columns = (Column("name", "name"), Column("range", "range", "range"))
    rows = [{"name": "a", "range": [float("nan"), float("nan")]}, {"name": "b", "range": [0.0, 1.0]}]
    text = plain(terminal, 80, rows, columns)
    assert "– to –" not in text
    assert "0.0000 to 1.0000" in text
