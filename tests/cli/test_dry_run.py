"""--dry-run: what it says against the run that follows, and that it leaves everything as it was."""

import time
from pathlib import Path
from typing import Any

import pytest
from support.program import TRAIN, Ran, run_here

import starcli as sc

pytestmark = pytest.mark.usefixtures("own_cache")

DIGITS = 64
"""Bytes by which a checkpoint's size may differ: scores have more digits or fewer."""


def everything(place: Path) -> dict[str, tuple[int, bytes]]:
    """All files below a directory, with their times and contents; directories with nothing."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(place.rglob("*"))
    }


def of(ran: Ran, action: str) -> dict[str, dict[str, Any]]:
    """Rows of a plan by what they are about."""
    return {row.get("what", ""): row for row in ran.rows if row["action"] == action}


def check_files(ran: Ran, before: dict[str, tuple[int, bytes]], place: Path) -> None:
    """The files that appeared are just those of the plan, checkpoints of that very size."""
    after = everything(place)
    made = {name: len(content) for name, (_, content) in after.items() if name not in before and Path(name).is_file()}
    made = {name: size for name, size in made.items() if "/cache/" not in name}
    planned = {str((place / what).resolve()): row["bytes"] for what, row in of(ran, "write").items()}
    assert planned.keys() == made.keys()
    for name in made:
        if name.endswith(".safetensors"):
            assert planned[name] == pytest.approx(made[name], abs=DIGITS)


def test_a_training(place: Path) -> None:
    words = ("train", *TRAIN, "--val-fraction", 0.2, "--seeds", "0-1", "-o", "ckpts/{seed}.safetensors")
    before = everything(place)
    ran = run_here(*words, "--dry-run")
    assert ran.status == 0, ran.err
    assert everything(place) == before
    assert {row["type"] for row in ran.rows} == {"plan"}
    assert of(ran, "work")["steps of 128 examples"]["count"] == 2 * 3 * 2  # seeds, epochs, steps of 240 examples
    assert of(ran, "work")["evaluation on 60 examples"]["count"] == 2 * (3 + 1)  # after each epoch, and at the end
    [total] = of(ran, "all").values()
    assert total["seconds"] > 0
    assert total["memory"] > 2**20
    assert total["bytes"] > sum(row["bytes"] for row in of(ran, "write").values())  # and a state
    assert run_here(*words).status == 0
    check_files(ran, before, place)

    finished = run_here(*words, "--dry-run")
    assert set(of(finished, "found")) == {"ckpts/0.safetensors", "ckpts/1.safetensors"}
    assert not of(finished, "write")
    other = run_here(*words, "--lr", 0.01, "--dry-run")  # the words are checked as they are in earnest
    assert other.status == 1
    assert other.err == run_here(*words, "--lr", 0.01).err


@pytest.mark.parametrize("method", ["star", "fuse", "mean", "distil"])
def test_stars_and_fusions(place: Path, solutions: Any, method: str) -> None:
    words: tuple[object, ...] = ("--sources", *solutions.some(0, 1, 2), "-o", "out/star.safetensors")
    if method == "star":
        held_out = ("--held-out", solutions[3], "--eval-every", 2)
        words = ("star", *words, *held_out, "--aligned-sources", "kept", "--log", "csv")
    else:
        words = ("fuse", *words, *(() if method == "fuse" else ("--method", method)))
    before = everything(place)
    ran = run_here(*words, "--dry-run")
    assert ran.status == 0, ran.err
    assert "hardly a solution" not in ran.err  # nothing is said of what was not trained
    assert everything(place) == before
    done = of(ran, "work")
    if method != "mean":
        assert done["steps of 128 examples"]["count"] == 3 * 2
    if method in ("star", "fuse"):
        first, anew = (done[name]["count"] for name in done if name.startswith("alignment of 3 sources"))
        assert (first, anew) == (1, 2)
    if method == "star":
        assert done["barriers to 1 held-out models"]["count"] == 1
    else:
        assert done["comparison of a model"]["count"] >= 1 + 3 + 2  # itself, the sources, means
    assert run_here(*words).status == 0
    check_files(ran, before, place)


@pytest.mark.parametrize(
    ("words", "lines"),
    [(("--all-pairs", 0, 1, 2, 3, 4), 10), (("--star", 0, "--sources", 1, 2, "--held-out", 3, 4), 4 + 2 + 2)],
)
def test_barriers(place: Path, solutions: Any, words: tuple[Any, ...], lines: int) -> None:
    line = ("barrier", *(solutions[word] if isinstance(word, int) else word for word in words), "--align", "weight")
    before = everything(place)
    ran = run_here(*line, "--dry-run", "--plot", "figure.png")
    assert ran.status == 0, ran.err
    assert everything(place) == before
    work = of(ran, "work")
    assert work["lines of 11 points, aligned: weight, 1 restart"]["count"] == lines
    assert work["models at the ends of lines"]["count"] == 5
    assert set(of(ran, "write")) == {"figure.png"}
    run_here(*line)
    known = of(run_here(*line, "--dry-run"), "work")  # all of it is in the cache
    assert set(known) == {"reading, checks and the rest"}


@pytest.mark.parametrize(
    ("command", "few", "many", "more"),
    [("barrier", 1000, 100_000, 100), ("plane", 30, 300, 100)],
)
def test_lines_and_planes_of_very_many_points(
    place: Path, solutions: Any, command: str, few: int, many: int, more: int
) -> None:
    """All points of a line were measured, however many. Other processes take time from one trial more than another."""
    models = solutions.some(0, 1) if command == "barrier" else solutions.some(0, 1, 2)

    def seconds(points: int) -> float:
        began = time.process_time()
        ran = run_here(command, *models, "--align", "none", "--points", points, "--dry-run")
        assert ran.status == 0, ran.err
        assert time.process_time() - began < 20
        found: float = of(ran, "work")[f"lines of {points} points"]["seconds"]
        return found

    assert more / 3 < min(seconds(many) for _ in range(3)) / min(seconds(few) for _ in range(3)) < more * 3


def test_more_points_than_can_be_held_are_refused(place: Path, solutions: Any) -> None:
    """By commands and library alike."""
    a, b = solutions.some(0, 1)
    for words, most in ((("barrier", a, b), "1,000,000"), (("plane", a, b, a), "1,000"), (("surface", a), "1,000")):
        ran = run_here(*words, "--points", most.replace(",", "") + "0")
        assert ran.status == 2
        assert f"--points': expected at most {most}, found" in ran.err
    with pytest.raises(sc.StarcliError, match="at most 1,000,000 points"):
        sc.barrier(a, b, points=10_000_000, alignment=None)
    with pytest.raises(sc.StarcliError, match="at most 1,000 points"):
        sc.surface(a, points=10_000)


@pytest.mark.parametrize("joint", [False, True])
def test_alignments(place: Path, solutions: Any, joint: bool) -> None:
    how = ("--joint", "--restarts", 2) if joint else ("--bound", "--permutation", "moves/{name}.safetensors")
    words = ("align", *solutions.some(0, 1, 2, 3), "--method", "weight", *how, "-o", "aligned/{name}.safetensors")
    before = everything(place)
    ran = run_here(*words, "--dry-run")
    assert ran.status == 0, ran.err
    assert everything(place) == before
    work = {name: row["count"] for name, row in of(ran, "work").items() if name != "reading, checks and the rest"}
    together = {"alignment of 4 models together: weight, 2 restarts": 1}
    assert work == (together if joint else {"alignment of a model: weight, 1 restart": 3, "bounds": 3})
    assert run_here(*words).status == 0
    check_files(ran, before, place)
    assert set(of(run_here(*words, "--dry-run"), "found")) == set(of(ran, "write"))


def test_averages(place: Path, solutions: Any) -> None:
    words = ("bma", "--star", solutions[0], "--sources", *solutions.some(1, 2, 3), "--samples", 5, "--repeats", 4)
    before = everything(place)
    ran = run_here(*words, "--align", "weight", "--dry-run", "--plot", "figure.png")
    assert ran.status == 0, ran.err
    assert everything(place) == before
    counts = {name: row["count"] for name, row in of(ran, "work").items()}
    assert counts["models of the ensemble"] == 3
    assert counts["repeats of up to 5 models"] == 4
    assert counts["alignment of a model: weight, 1 restart"] == 3
    assert set(of(ran, "write")) == {"figure.png"}


@pytest.mark.parametrize("more", [(), ("--in-turn",), ("--temperature", 2)])
def test_averages_of_very_many(place: Path, solutions: Any, more: tuple[Any, ...]) -> None:
    """All of them were drawn and averaged, which took minutes and gigabytes."""
    words = ("bma", "--star", solutions[0], "--sources", *solutions.some(1, 2, 3), "--repeats", 1, "--align", "none")
    seconds = []
    for samples in (1000, 1000000):
        began = time.process_time()
        ran = run_here(*words, "--samples", samples, *more, "--dry-run")
        assert time.process_time() - began < 20  # about one of them needs no more than that
        seconds.append(of(ran, "work")[f"repeats of up to {samples:,} models"]["seconds"])
    assert seconds[1] > 100 * seconds[0]


def test_a_run_that_was_stopped(place: Path) -> None:
    from starcli.cli.framework.progress_bars import Bars

    words = ("train", *TRAIN, "-o", "a.safetensors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Bars, "step", lambda self, count=1, **_: setattr(self, "stop_signal", 15 if count == 1 else 0))
        assert run_here(*words).status == 128 + 15
    assert (place / "a.safetensors.state").exists()
    before = everything(place)
    ran = run_here(*words, "--dry-run")
    assert everything(place) == before
    assert of(ran, "found")["a.safetensors.state"]["how"] == "goes on in epoch 1, step 2"
    assert of(ran, "work")["steps of 128 examples"]["count"] == 3 * 3 - 1


def test_a_table_for_people(place: Path) -> None:
    ran = run_here("train", *TRAIN, "-o", "a.safetensors", "--dry-run", "--format", "table")
    assert "steps of 128 examples" in ran.out
    assert "write a.safetensors" in ran.out
    assert " kB" in ran.out


@pytest.mark.slow
def test_the_time_is_about_right(place: Path) -> None:
    words = ("train", "--arch", "mlp", "--data", "digits", "--epochs", 150, "-o", "a.safetensors")
    [total] = of(run_here(*words, "--dry-run"), "all").values()
    began = time.perf_counter()
    assert run_here(*words).status == 0
    assert total["seconds"] / 3 < time.perf_counter() - began < total["seconds"] * 3
