"""Results of the library are the rows of the commands, which say all that it takes to find a number again."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.program import run_here

import starcli as sc
from starcli.cli.framework.results import jsonable


def same_row(found: Any, row: dict[str, Any], *, but: tuple[str, ...] = ()) -> None:
    """The result has just the keys and values of a command's row, but for what a command alone knows."""
    own = {"schema", "type", "command", *but}
    assert json.loads(json.dumps(jsonable(found))) == {key: value for key, value in row.items() if key not in own}


def test_results_are_the_rows_of_the_commands(solutions, place: Path) -> None:
    a, b, c = solutions.some(0, 1, 2)
    aligned = sc.Alignment("weight", 2, seed=3)
    words = ("--align", "weight", "--restarts", 2, "--seed", 3, "--points", 4, "--json")
    [row] = run_here("barrier", a, b, *words).rows
    same_row(sc.barrier(a, b, alignment=aligned, points=4).to_dict(), row)
    assert row["seed"] == 3
    [row] = run_here("barrier", a, b, "--points", 3, "--split", "validation", "--json").rows
    same_row(sc.barrier(a, b, points=3, alignment=None, split="validation").to_dict(), row)
    assert "seed" not in row
    with pytest.raises(sc.StarcliError, match="unknown split 'train'"):
        sc.barrier(a, b, split="train")
    [row] = run_here("plane", a, b, c, *words).rows
    same_row(sc.plane(a, b, c, points=4, alignment=aligned).to_dict(), row)
    [row] = run_here("surface", a, "--points", 3, "--radius", 0.5, "--seed", 3, "--json").rows
    same_row(sc.surface(a, points=3, radius=0.5, seed=3).to_dict(), row)
    [row] = run_here("align", a, b, "--method", "weight", *words[2:6], "-o", "x.safetensors", "--json").rows
    same_row(sc.align(a, b, method=aligned).to_dict(), row, but=("output", "seconds"))
    same_row(sc.evaluate(a)[0], run_here("eval", a, "--json").rows[0])


def test_tables_and_reports_are_the_rows_of_the_commands(solutions, star: Path) -> None:
    sources, held_out = solutions.some(0, 1, 2), solutions.some(3, 4)
    drawn = ("--sampling", "beta:2,1", "--in-turn", "--samples", 3, "--seed", 2, "--json")
    rows = run_here("bma", "--star", star, "--sources", *sources, *drawn).rows
    table = sc.bma(star, sources, samples=3, sampling="beta:2,1", in_turn=True, seed=2)
    for found, row in zip(table, rows, strict=True):
        same_row(found, row)

    apart = sc.bma(star, sources, samples=2, repeats=1, seed=2, alignment=sc.Alignment("weight", seed=5))
    assert [(row["seed"], row["alignment_seed"]) for row in apart] == [(2, 5)] * len(apart)

    words = ("--star", star, "--sources", *sources, "--held-out", *held_out, "--points", 3, "--json")
    rows = run_here("barrier", *words, "--align", "activation", "--seed", 2).rows
    how = sc.Alignment("activation", seed=2)
    report = sc.star_report(star, sources, held_out, points=3, alignment=how)
    groups = list(report.groups.values())
    lines = [barrier.to_dict() for group in groups for barrier in group.barriers]
    for kind, found in {"barrier": lines, "summary": [group.to_dict() for group in groups]}.items():
        for each, row in zip(found, [row for row in rows if row["type"] == kind], strict=True):
            same_row(each, row)
    same_row({key: value for key, value in report.to_dict().items() if key != "groups"}, rows[-1])
    assert {row["group"]: row.get("seed") for row in rows if row["type"] == "summary"} == {
        "regular-regular (unaligned)": None, "regular-regular": 2, "star-source": 2, "star-held-out": 2,
    }  # fmt: skip

    rows = run_here("barrier", *sources, "--all-pairs", "--align", "weight", "--points", 3, "--json").rows
    pairs = sc.all_pairs(sources, alignment="weight", points=3)
    for found, row in zip([*(barrier.to_dict() for barrier in pairs.barriers), pairs.to_dict()], rows, strict=True):
        same_row(found, row, but=("star_share",))
    assert pairs.star_share(1e9) == 1
