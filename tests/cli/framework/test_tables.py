"""Every table of every command at every width of a terminal: what the command is about is always to be seen."""

import importlib
import io
import pkgutil
import re

import pytest
from rich.console import Console

import starcli.cli
from starcli.cli.framework.columns import SPREAD, Column, TextTable
from starcli.cli.framework.tables import show_table
from starcli.registry.tasks import METRICS

WIDTHS = (40, 50, 60, 70, 80, 100, 120, 160)


OF_TASKS = {"classes": {"accuracy"}, "regression": {"r2", "rmse"}, "multi-label": {"micro_f1", "macro_f1"}}
"""Metrics of each task: a table has those of one task alone."""
OF_CLASSES = {"accuracy_std", "nll", "nll_std", "brier", "ece", "auroc_max_prob", "aurc", "perplexity", "temperature"}
OF_CLASSES |= {"scaled.nll", "scaled.ece", "validation_nll"}
OF_OTHERS = {"loss_kind", "loss", "loss_std", "validation_loss", "mae", "auroc", "average_precision", "subset_accuracy"}
"""Keys of rows that only classes have, and that only other tasks have."""


def of_task(columns, task):
    """The columns that have values where a network is for `task`; what losses are is said where it is not usual."""

    def metrics(column):
        return {re.sub("_barriers?$", "", part) for part in column.key.split(".")}

    others = set(METRICS) - OF_TASKS[task]
    rest = OF_OTHERS if task == "classes" else OF_CLASSES
    return tuple(column for column in columns if not metrics(column) & others and column.key not in rest)


def column_tuples():
    """All tuples of columns that the command line declares, under their names, for each task that they differ by."""
    for module in pkgutil.walk_packages(starcli.cli.__path__, "starcli.cli."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, tuple) and value and all(isinstance(each, Column) for each in value):
                label = f"{module.name.rpartition('.')[2]}-{name.strip('_')}"
                tables = {of_task(value, task): task for task in reversed(OF_TASKS)}
                for columns, task in tables.items():
                    yield pytest.param(columns, id=label if task == "classes" else f"{label}-{task}")


TABLES = list(column_tuples())


def usual(column, number):
    """A value such as the column usually has."""
    texts = {
        "name": f"model-{number}.safetensors",
        "words": "best_source",
        "hash": "0123456789abcdef" * 4,
        "time": "2026-11-26T17:14:53+00:00",
    }
    others = {"spark": [0.1 * k for k in range(11)], "range": [0.0123, 1.0123], "": f"some words {number}"}
    if column.form in texts or column.form in others:
        return {**texts, **others}[column.form]
    return 1.0 if column.form.endswith("%") else 12 + number if "d" in column.form else 2.3456


def row_of(columns, number):
    row = {}
    for column in columns:
        *outer, key = column.key.split(".")
        place = row
        for each in outer:
            place = place.setdefault(each, {})
        place[key] = usual(column, number)
    return row


def printed(columns, rows, width):
    text = io.StringIO()
    show_table(Console(file=text, width=width, highlight=False), TextTable.of(columns, rows))
    return text.getvalue()


def test_the_tables_are_found():
    assert len(TABLES) >= 15


@pytest.mark.parametrize("columns", TABLES)
def test_main_columns_stay_and_what_goes_is_named(columns):
    rows = [row_of(columns, number) for number in range(2)]
    for width in WIDTHS:
        text = printed(columns, rows, width)
        assert max(map(len, text.splitlines())) <= width
        table, _, below = text.partition("left out for width: ")
        below = " ".join(below.split())
        head = table.partition("─")[0].split()
        for place, column in enumerate(columns):
            name = f"± of {columns[place - 1].heading}" if column.heading == SPREAD else column.heading
            shown = re.search(rf"(^|, ){re.escape(name)}[,;]", below) is None
            if place == 0 or column.main:
                assert shown, text
            if shown and column.heading != SPREAD and not column.common:
                assert set(column.heading.split()) <= set(head), text
            if shown and column.unbreakable and not column.common:
                assert all(cell in text for cell in column.texts(rows)), text
        assert not below or below.endswith("; --format json has all")


@pytest.mark.parametrize("columns", TABLES)
def test_long_names_push_out_no_number(columns):
    row = row_of(columns, 0)
    for column in columns:
        if not column.unbreakable and column.form != "words":
            *outer, key = column.key.split(".")
            place = row
            for each in outer:
                place = place[each]
            place[key] = "a-model-of-mine_with.a-long.name" * 3
    for width in WIDTHS:
        text = printed(columns, [row], width)
        assert max(map(len, text.splitlines())) <= width
        assert all(each.texts([row])[0] in text for each in columns if each.main and each.unbreakable), text


@pytest.mark.parametrize("columns", TABLES)
def test_a_table_says_what_it_is_about(columns):
    assert any(column.main for column in columns[1:]) or len(columns) == 1


@pytest.mark.parametrize("columns", TABLES)
def test_headings_are_told_apart(columns):
    headings = [column.heading for column in columns if column.heading != SPREAD]
    assert len(set(headings)) == len(headings)


@pytest.mark.parametrize("columns", TABLES)
def test_all_of_a_table_fits_a_wide_page(columns):
    assert "left out" not in printed(columns, [row_of(columns, 0)], 200)


def test_headings_go_on_in_a_second_line_before_a_column_goes():
    columns = (Column("a", "model", "name"), Column("b", "test accuracy", ".2%"), Column("c", "train accuracy", ".2%"))
    row = {"a": "x", "b": 0.5, "c": 0.25}
    assert printed(columns, [row], 40).splitlines()[1].split() == ["model", "test", "accuracy", "train", "accuracy"]
    assert [line.split() for line in printed(columns, [row], 28).splitlines()[1:3]] == [
        ["test", "train"],
        ["model", "accuracy", "accuracy"],
    ]


def test_a_list_is_broken_between_its_words_without_empty_lines():
    columns = (Column("a", "group"), Column("b", "tensors"))
    lines = printed(columns, [{"a": "g", "b": ["block.0.weight", "block.0.bias", "block.1.weight"]}], 30).splitlines()
    assert [line.split() for line in lines[3:6]] == [["g", "block.0.weight,"], ["block.0.bias,"], ["block.1.weight"]]


def test_brackets_in_names_are_no_markup():
    columns = (Column("a", "file"), Column("b", "[bold]x[/bold].safetensors", main=True))
    text = printed(columns, [{"a": "[red]y[/red]", "b": "[/]"}], 60)
    assert all(word in text for word in ("[bold]x[/bold].safetensors", "[red]y[/red]", "[/]"))


def test_what_has_to_stay_is_cut_down_at_last():
    columns = (Column("a", "model", "name"), Column("b", "output", "name", main=True))
    text = printed(columns, [{"a": "m" * 50, "b": "o" * 50}], 30)
    assert max(map(len, text.splitlines())) <= 30
    assert text.count("m") >= 50
    assert text.count("o") >= 50
