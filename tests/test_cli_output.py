"""Results as tables and JSON lines, progress and notes on stderr."""

import io
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starcli.cli import bars
from starcli.cli.output import Column, Results, line

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
    with Results(json_lines=False) as results:
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
    terminal(60)
    text = shown([ROW])
    assert "95%" not in text
    assert "extra words" not in text
    assert "0.123" in text
    assert max(map(len, re.sub("\x1b\\[[0-9;]*m", "", text).splitlines())) <= 60


def test_what_differs_is_a_column(terminal):
    terminal(120)
    assert "how:" not in shown([ROW, {**ROW, "how": "badly"}])


def test_columns_without_a_value_are_left_out(terminal):
    terminal(120)
    assert "95%" not in shown([{**ROW, "range": None}])


def test_rows_are_shown_even_after_an_error(terminal):
    terminal(120)
    with pytest.raises(ZeroDivisionError), Results(json_lines=False) as results:  # noqa: PT012
        results.add("thing", ROW, COLUMNS)
        raise ZeroDivisionError
    assert "0.123" in sys.stdout.getvalue()


def test_json_on_a_terminal_leaves_at_once(terminal):
    out = terminal(120)
    results = Results(json_lines=True)
    results.add("thing", ROW, COLUMNS)
    assert json.loads(out.getvalue()) == {"schema": 1, "type": "thing", **ROW}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text().filter(lambda key: key not in ("schema", "type")), json_values, max_size=4))
def test_every_line_is_strict_json_in_one_line(row):
    text = line("thing", row)
    assert "\n" not in text

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert list(found)[:2] == ["schema", "type"]
    assert set(found) == {"schema", "type", *row}


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def drawn(monkeypatch, clock, *, quiet=False, tty=True):
    stream = Terminal() if tty else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with bars.Bars(quiet=quiet) as watch:
        watch.start("aligning things", 4)
        watch.step()
        early = stream.getvalue()
        clock[0] += 2
        watch.step(loss=0.5)
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
    assert "loss 0.5" in late
    assert "note: mind the gap" in late


def test_no_bar_where_stderr_is_no_terminal(monkeypatch, clock):
    assert drawn(monkeypatch, clock, tty=False) == ("", "note: mind the gap\n")


def test_quiet_is_quiet(monkeypatch, clock):
    assert drawn(monkeypatch, clock, quiet=True) == ("", "")
