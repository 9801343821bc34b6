"""What a star has seen is no held-out model, in its search and in its report, on the command line and in Python."""

from functools import partial

import pytest
from support.program import run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.cli.star_jobs import StarRuns


@pytest.fixture
def refused(monkeypatch):
    """Run a search, which is refused before its work."""
    monkeypatch.setattr(StarRuns, "make", lambda *_: pytest.fail("searched"))

    def refused(*words):
        ran = run_here("star", *words, "-o", "x.safetensors")
        assert ran.status == 1, ran.err
        return ran.err

    return refused


def test_a_copy_is_the_same_solution_in_the_search(solutions, place, refused):
    assert run_here("align", solutions[0], solutions[1], "-o", "b.safetensors").status == 0
    assert run_here("align", solutions[3], "b.safetensors", "-o", "c.safetensors").status == 0
    for source, held_out in ((solutions[1], "c.safetensors"), ("b.safetensors", solutions[1])):
        said = refused("--sources", solutions[0], source, "--held-out", held_out)
        assert f"--held-out: the same solution as {source.name if source == solutions[1] else source}" in said


@pytest.mark.parametrize("begun", ["star", "curve", "interpolate"])
def test_what_the_search_begins_at_was_seen_with_all_that_went_into_it(begun, star, solutions, place, refused):
    if begun != "star":
        how = ("--epochs", 1) if begun == "curve" else ("--t", 0.5)
        assert run_here(begun, *solutions.some(0, 2), *how, "-o", "begun.safetensors").status == 0
    init = star if begun == "star" else "begun.safetensors"
    said = refused("--sources", *solutions.some(3, 4), "--init", init, "--held-out", solutions[2])
    assert f"--held-out: {begun if begun == 'star' else 'begun'}.safetensors was made from 2.safetensors" in said


def test_a_report_and_a_star_that_grows_know_copies(solutions, place):
    a, b, c, d = (str(solutions[number]) for number in range(4))
    copy = sc.align(a, b, restarts=1)
    found = sc.find_star([a, copy], epochs=1)
    with pytest.raises(sc.StarcliError, match=r"held_out: star-0 was made from .*1\.safetensors"):
        sc.star_report(found, [a, copy], [b], points=3)
    with pytest.raises(sc.StarcliError, match="the same solution as"):
        sc.find_star([a, copy], held_out=[b], epochs=1)
    grown = sc.find_star([a, b, c], grow=found, epochs=1).metadata.recipe["star"]["grown"]
    assert (grown["new"], grown["dropped"]) == (1, 0)
    begun = sc.find_star([a, b], init=sc.interpolate(c, d, t=0.5, alignment=None), epochs=1)
    with pytest.raises(sc.StarcliError, match=r"was made from .*2\.safetensors"):
        sc.star_report(begun, [a, b], [c], points=3)


def test_a_domain_of_other_sources_than_the_stars_is_noted(star, solutions, place):
    assert run_here("align", solutions[3], solutions[1], "-o", "copy.safetensors").status == 0
    sources, note = ("copy.safetensors", solutions[4]), "star.safetensors was not made from 4.safetensors, given as"
    for words in (
        ("bma", "--samples", 2, "--repeats", 1),
        ("predict", "--samples", 2, "-o", "p.npz"),
        ("fuse", "--method", "distil", "--samples", 1, "--epochs", 1, "-o", "f.safetensors"),
    ):
        ran = run_here(*words, "--star", star, "--sources", *sources, "--align", "weight")
        assert (ran.status, note in ran.err) == (0, True), ran.err
    with pytest.warns(sc.StarcliWarning, match="was not made from 4"):
        sc.predict(star=str(star), sources=["copy.safetensors", str(solutions[4])], samples=2)


def test_a_source_that_is_what_the_star_began_at_is_still_its_source(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--init", solutions[1], "--epochs", 1)
    assert run_here(*words, "-o", "s.safetensors").status == 0
    ran = run_here("star", "--grow", "s.safetensors", "--sources", *solutions.some(0, 1, 2), "-o", "t.safetensors")
    assert ran.status == 0, ran.err
    grown = read_metadata(place / "t.safetensors")[1].recipe["star"]["grown"]
    assert (grown["new"], grown["dropped"]) == (1, 0)


def test_a_star_among_solutions_and_a_solution_as_star_are_noted(star, solutions, place):
    search = ("star", "--sources", star, solutions[4], "--recipe", "default", "--epochs", 1, "--limit", 300)
    notes = "star.safetensors is a star, and counts here as a solution"
    assert notes in run_here(*search, "-o", "x.safetensors", "--dry-run").err
    lines = ("barrier", "--star", solutions[0], "--sources", *solutions.some(1, 2), "--points", 3, "--align", "none")
    said = run_here(*lines, "--held-out", star).err
    assert notes in said
    assert "0.safetensors was trained from random weights: it is no star" in said


def test_a_solution_and_its_copy_are_noted_among_sources(solutions, place):
    assert run_here("permute", solutions[1], "--random", "-o", "copy.safetensors").status == 0
    pair = (solutions[1], place / "copy.safetensors")
    note = "copy.safetensors is the same solution as 1.safetensors, and counts here"
    for words in (("star",), ("fuse", "--method", "mean")):
        ran = run_here(*words, "--sources", *pair, "-o", "x.safetensors", "--dry-run")
        assert (ran.status, note in ran.err) == (0, True), ran.err
    assert note in run_here("bma", "--star", solutions[0], "--sources", *pair, "--dry-run").err
    for find in (partial(sc.find_star, epochs=1), partial(sc.fuse, method="mean")):
        with pytest.warns(sc.StarcliWarning, match=note):
            find([str(each) for each in pair])
