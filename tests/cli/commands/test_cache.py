"""starcli cache, and --no-cache: what comes from the cache is what would be measured, and is said."""

import pwd
import re
from pathlib import Path

import pytest
from support.program import run_here
from support.refused import refused

from starcli.checkpoints import checkpoint

pytestmark = pytest.mark.usefixtures("own_cache")

NOTE = re.compile(r"note: (\d+) of (\d+) results from the cache, (.+); --no-cache measures anew\n")


def test_measurements_from_the_cache_are_those_measured_anew_and_counted(solutions, star, place):
    pairs = ("barrier", *solutions.some(0, 1, 2), "--align", "none", "--points", 3)
    sources = ("--star", star, "--sources", *solutions.some(0, 1), "--align", "weight")
    averages = ("bma", *sources, "--samples", 2, "--repeats", 1)
    report = ("barrier", *sources, "--held-out", solutions[3], "--points", 3)
    run_here("barrier", *solutions.some(0, 2), "--align", "none", "--points", 3)
    for words, found in ((pairs, ("1", "2")), (averages, None), (report, None)):
        first, again, anew = run_here(*words), run_here(*words), run_here(*words, "--no-cache")
        assert first.status == again.status == anew.status == 0, first.err
        assert first.rows == again.rows == anew.rows
        note = NOTE.search(first.err)
        assert (note and note.groups()[:2]) == found
        note = NOTE.search(again.err)
        assert note
        assert note[1] == note[2]
        assert Path(note[3]) == place / "cache" / "starcli"
        assert not NOTE.search(anew.err)
        assert not NOTE.search(run_here(*words, "--quiet").err)


def test_a_spec_and_its_proof_from_the_cache_are_those_found_anew(place):
    (place / "own15.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))\n"
    )
    words = ("train", "--arch", "own15:build", "--data", "digits", "--limit", 100, "--epochs", 1)
    records = []
    for name, more in (("first", ()), ("again", ()), ("anew", ("--no-cache",))):
        ran = run_here(*words, *more, "-o", f"{name}.safetensors")
        assert ran.status == 0, ran.err
        assert "cache" not in ran.err  # a proof is no result of training
        records.append(checkpoint.read_metadata(place / f"{name}.safetensors")[1].spec)
    assert records[0] == records[1] == records[2]
    assert records[0].proof is not None


def test_without_the_cache_nothing_is_left(solutions, place):
    assert run_here("barrier", *solutions.some(0, 1), "--align", "weight", "--points", 3, "--no-cache").status == 0
    assert not (place / "cache").exists()


def test_the_cache_is_shown_and_cleared(solutions, place):
    empty = run_here("cache", "show")
    assert (empty.status, empty.out) == (0, "")
    assert f"nothing is kept in {place / 'cache' / 'starcli'}" in empty.err
    run_here("barrier", *solutions.some(0, 1, 2), "--align", "none", "--points", 3)
    [shown] = run_here("cache", "show").rows
    assert (shown["type"], shown["kind"], shown["files"]) == ("cache", "barriers", 2)
    files = list(Path(shown["place"]).glob("*.json"))
    assert shown["bytes"] == sum(file.stat().st_size for file in files)
    assert shown["oldest"] <= shown["newest"]
    assert "barriers" in run_here("cache", "show", tty=True).out
    [cleared] = run_here("cache", "clear").rows
    assert cleared == {**shown, "type": "cache_clear"}
    assert not any(file.exists() for file in files)
    assert run_here("cache", "clear").err.startswith("note: nothing was kept")


def test_a_user_without_a_home_can_do_all_but_look_at_the_cache(solutions, place, monkeypatch):
    """As in a container that runs under a number which no user of it has."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    ran = run_here("barrier", *solutions.some(0, 1), "--align", "weight", "--points", 3)
    assert (ran.status, ran.err) == (0, "")
    for command in ("show", "clear"):
        refused(run_here("cache", command), "nothing is kept: set HOME, or XDG_CACHE_HOME to a directory for it")
    refused(run_here("train", "--arch", "mlp", "--data", "~/d.npz", "-o", "x.safetensors"), "~/d.npz")
    assert list(place.iterdir()) == []
