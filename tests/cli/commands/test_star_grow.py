"""star --grow: what a star that grows takes for old, new and dropped, what it costs, records and refuses."""

import shlex
import shutil
from pathlib import Path

import pytest
from support.program import run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.cli.star_jobs import StarRuns
from starcli.reports.rebuilt_line import rebuilt_line


def _weights(*paths):
    return [read_metadata(Path(path))[1].weights_sha256 for path in paths]


def test_old_sources_are_known_by_their_weights_and_the_new_one_sets_the_price(star, solutions, place):
    shutil.copy(solutions[1], "other.safetensors")
    run_here("permute", solutions[2], "--random", "-o", "permuted.safetensors")
    sources = [solutions[0], "other.safetensors", "permuted.safetensors", solutions[3]]
    words = ("star", "--grow", star, "--sources", *sources, "--held-out", solutions[4], "-o", "grown.safetensors")
    said = "star.safetensors grows to 4 sources: 3.safetensors new; trained for 1 epoch, anew 3"
    ran = run_here(*words, "--dry-run")
    assert (ran.status, said in ran.err, (place / "grown.safetensors").exists()) == (0, True, False)
    ran = run_here(*words)
    assert (ran.status, said in ran.err) == (0, True), ran.err
    [row] = ran.rows
    assert row["grown"] == {"epochs_anew": 3, "new": 1, "dropped": 0}
    assert run_here(*words).out == ran.out

    metadata = read_metadata(place / "grown.safetensors")[1]
    assert metadata.parents == _weights(*sources, star)
    assert metadata.recipe["epochs"] == 1
    assert metadata.recipe["star"]["grown"] == row["grown"]
    assert {"star.safetensors", "2.safetensors"} <= {ancestor.name for ancestor in metadata.ancestors}
    grown = sc.find_star([str(each) for each in sources], grow=str(star), held_out=[str(solutions[4])])
    sc.save(grown, "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "grown.safetensors").read_bytes()
    assert "new 1" in run_here("inspect", "grown.safetensors", "--format", "table").out


def test_what_is_not_named_is_dropped_and_stays_seen(star, solutions, place):
    for name in ("star.safetensors", *(f"{n}.safetensors" for n in range(5))):
        shutil.copy(star if name == star.name else solutions[int(name[0])], name)
    kept = ("0.safetensors", "1.safetensors")
    ran = run_here("star", "--grow", "star.safetensors", "--sources", *kept, "--lr", 0.03, "-o", "less.safetensors")
    assert "2 sources: none new, 2.safetensors dropped; trained for 1 epoch, anew 3" in ran.err
    for command in (
        ("barrier", "--star", "less.safetensors", "--points", 3, "--align", "weight"),
        ("star", "--grow", "less.safetensors", "-o", "x.safetensors"),
    ):
        ran = run_here(*command, "--sources", *kept, "3.safetensors", "--held-out", "2.safetensors")
        assert (ran.status, "--held-out: less.safetensors was made from 2.safetensors" in ran.err) == (1, True), ran.err
    with pytest.raises(sc.StarcliError, match="held_out: less"):
        sc.star_report("less.safetensors", list(kept), ["2.safetensors"])
    words = ("star", "--grow", "less.safetensors", "--sources", *kept, "3.safetensors", "4.safetensors", "--lr", 0.1)
    assert run_here(*words, "-o", "more.safetensors").status == 0
    metadata = read_metadata(place / "more.safetensors")[1]
    assert (metadata.recipe["epochs"], metadata.recipe["star"]["grown"]["epochs_anew"]) == (2, 3)  # 3 times 2 of 4
    ran = run_here(*shlex.split(rebuilt_line("more.safetensors", metadata))[1:])
    assert "more.safetensors: finished already" in ran.err


def test_a_star_that_grew_by_another_recipe_has_no_line(star, solutions, place):
    words = ("star", "--grow", star, "--sources", *solutions.some(0, 1, 2, 3), "--epochs", 1)
    for number, (recipe, record) in enumerate((("quickstart", {"recipe": "another"}), (None, {}))):
        named = ("--recipe", recipe) if recipe else ()
        assert run_here(*words, *named, "-o", f"{number}.safetensors").status == 0
        metadata = read_metadata(place / f"{number}.safetensors")[1]
        grown = metadata.recipe["star"]["grown"]
        assert grown == {"epochs_anew": grown["epochs_anew"], "new": 1, "dropped": 0, **record}
        assert (rebuilt_line("x.safetensors", metadata) is None) == bool(recipe)


def test_companions_are_gone_and_their_epochs_not_counted(solutions, place):
    search = ("star", "--sources", *solutions.some(0, 1, 2), "--epochs", 8, "--align", "none", "--companions", 2)
    assert run_here(*search, "-o", "short.safetensors").status == 0
    words = ("star", "--grow", "short.safetensors", "--sources", *solutions.some(0, 1, 2, 3), "--dry-run")
    ran = run_here(*words, "-o", "grown.safetensors")
    said = "4 sources: 3.safetensors new; its 2 companions are gone; trained for 1 epoch, anew 4"
    assert (ran.status, said in ran.err) == (0, True), ran.err


def test_a_fused_model_grows_if_it_is_a_star(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1), "--epochs", 1)
    run_here(*words, "-o", "fused.safetensors")
    run_here(*words[:-2], "--method", "mean", "-o", "mean.safetensors")
    more = ("fuse", "--sources", *solutions.some(0, 1, 2), "-o", "more.safetensors", "--grow")
    assert run_here(*more, "fused.safetensors").status == 0
    ran = run_here(*more, "mean.safetensors", "--force")
    assert (ran.status, "mean.safetensors: is no star that says what its sources are" in ran.err) == (1, True)
    ran = run_here(*more, "fused.safetensors", "--method", "mean", "--force")
    assert (ran.status, "--method mean has no use for --grow" in ran.err) == (1, True)


REFUSED = {
    "nothing new": ((0, 1, 2), (), "was made from just these --sources"),
    "nothing old": ((3, 4), (), "was made from none of these --sources"),
    "a model": ((0, 3), ("--grow", 4), "4.safetensors: is no star that says what its sources are"),
    "two beginnings": ((0, 1, 2, 3), ("--init", 4), "--init and --grow both say where to begin"),
    "companions": ((0, 1, 2, 3), ("--companions", "1"), "--companions is not for a star that grows"),
    "itself": ((0, 1, 2, "star"), (), "is among its own --sources"),
    "a held-out model that it saw": ((0, 1, 3), ("--held-out", 2), "--held-out: star.safetensors was made from"),
}


@pytest.mark.parametrize(("sources", "more", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_grow_is_said_before_any_work(sources, more, expected, star, solutions, place, monkeypatch):
    monkeypatch.setattr(StarRuns, "make", lambda *_: pytest.fail("searched"))
    files = [star if each == "star" else solutions[each] for each in sources]
    more = [solutions[each] if isinstance(each, int) else each for each in more]
    ran = run_here("star", "--grow", star, "--sources", *files, *more, "-o", "x.safetensors")
    assert (ran.status, expected in ran.err) == (1, True), ran.err


def test_sources_of_another_network_are_refused(star, solutions, place):
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=8", "--limit", 300, "--val-fraction", 0.2)
    run_here("train", *network, "--epochs", 1, "-o", "narrow.safetensors")
    ran = run_here("star", "--grow", star, "--sources", solutions[0], "narrow.safetensors", "-o", "x.safetensors")
    assert (ran.status, "narrow.safetensors" in ran.err, "hidden_dim" in ran.err) == (1, True, True)
