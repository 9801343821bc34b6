"""starcli star and fuse: what they write, inherit, log, keep and show."""

import json
import shlex
import shutil

import pytest
from safetensors.torch import load_file
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata
from starcli.cli.star_jobs import StarRuns
from starcli.reports.rebuilt_line import rebuilt_line
from starcli.workspace.workspace import Workspace


def test_the_star_says_what_it_was_made_from(star, solutions):
    _, metadata = read_metadata(star)
    assert metadata.kind == "star"
    assert metadata.statistics == "recalibrated"
    assert [read_metadata(solutions[n])[1].weights_sha256 for n in range(3)] == metadata.parents
    assert {ancestor.name for ancestor in metadata.ancestors} == {f"{n}.safetensors" for n in range(3)}
    assert metadata.recipe["epochs"] == 3  # the sources' own
    assert metadata.recipe["star"]["method"] == "activation"


def test_permuted_sources_are_kept_with_the_same_function(star, solutions):
    kept = sorted((star.parent / "aligned").iterdir())
    assert [path.name for path in kept] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    [own] = run_here("eval", solutions[1]).rows
    [permuted] = run_here("eval", kept[1]).rows
    assert permuted["nll"] == pytest.approx(own["nll"], abs=1e-6)
    assert sorted(load_file(kept[1])["fc1.bias"].tolist()) == sorted(load_file(solutions[1])["fc1.bias"].tolist())
    aligned = read_metadata(kept[1])[1].aligned_to
    assert aligned is not None
    assert aligned.reference == read_metadata(star)[1].weights_sha256


def test_seeds_epochs_and_the_log(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--held-out", solutions[3], "--eval-every", 1)
    ran = run_here(*words, "--epochs", 2, "--seeds", "0-1", "-o", "s{seed}.safetensors")
    assert ran.status == 0, ran.err
    assert [(row["seed"], row["sources"], row["alignment"]) for row in ran.rows] == [
        (seed, 2, "activation, 1 restart, 256 examples") for seed in (0, 1)
    ]
    rows = [json.loads(line) for line in (place / "s0.metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "moved", "held_out"} <= set(rows[0])
    again = run_here(*words, "--epochs", 2, "--seeds", "0-1", "-o", "s{seed}.safetensors")
    assert again.out == ran.out


def test_sources_from_elsewhere_record_no_recipe_and_a_note_says_so(solutions):
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--data", "digits", "--limit", 300)
    for number in (0, 1):
        run_here("convert", solutions[number], "--plain", "-o", f"plain{number}.safetensors")
        run_here("convert", f"plain{number}.safetensors", *network, "-o", f"{number}.safetensors")
    ran = run_here("star", "--sources", "0.safetensors", "1.safetensors", "--epochs", 1, "-o", "star.safetensors")
    assert ran.status == 0, ran.err
    assert "do not say how they were trained: the default recipe is used" in ran.err


def test_measuring_held_out_models_changes_no_weight(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1)
    run_here(*words, "-o", "plain.safetensors")
    run_here(*words, "--held-out", solutions[3], "--eval-every", 1, "-o", "watched.safetensors")
    hashes = {read_metadata(place / f"{name}.safetensors")[1].weights_sha256 for name in ("plain", "watched")}
    assert len(hashes) == 1


def test_a_star_with_companions_says_so_and_how_to_make_it(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 2, "--companions", 1)
    words += ("--noise", 0.3, "--pull", 0.002, "--realign-noise", 1)
    ran = run_here(*words, "-o", "x.safetensors")
    assert (ran.status, "companions trained for 1 epoch: " in ran.err) == (0, True), ran.err
    assert "and weight decay 0.0005 draws it to 0: --weight-decay 0 leaves that out" in ran.err
    assert ran.rows[0]["sources"] == 2
    metadata = read_metadata(place / "x.safetensors")[1]
    told = metadata.recipe["star"]
    assert (told["noise"], told["pull"], told["realign_noise"]) == (0.3, 0.002, 1.0)
    assert (told["companions"], told["companion_epochs"], metadata.recipe["epochs"]) == (1, 1, 2)
    assert len((place / "x.metrics.jsonl").read_text().splitlines()) == 1  # the star's own epoch
    for source in solutions.some(0, 1):
        shutil.copy(source, place)
    assert "x.safetensors: finished already" in run_here(*shlex.split(rebuilt_line("x.safetensors", metadata))[1:]).err


def test_each_setting_counts(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1, "-o", "x.safetensors")
    assert run_here(*words).status == 0
    for more, expected in (
        (("--sampling", "beta"), "star sampling: uniform there, beta asked for"),
        (("--realign-every", "never"), "star realign_every"),
        (("--align", "none"), "star method"),
        (("--noise", 0.3), "star noise: nothing there, 0.3 asked for"),
        (("--pull", 0.002), "star pull: nothing there, 0.002 asked for"),
        (("--realign-noise", 1), "star realign_noise: nothing there, 1.0 asked for"),
        (("--init", solutions[2]), "star init"),
    ):
        ran = run_here(*words, *more)
        assert ran.status == 1
        assert expected in ran.err
    ran = run_here("star", "--sources", *solutions.some(0, 2), "--epochs", 1, "-o", "x.safetensors")
    assert "made from: 0.safetensors, 1.safetensors there, 0.safetensors, 2.safetensors asked for" in ran.err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--realign-every", "sometimes", "--realign-every sometimes"),
        ("--draws-per-step", 1000, "cannot be cut into 1000"),
        ("--companions", 1000, "1000 companions share half of the epochs"),
    ],
)
def test_wrong_settings_are_told_before_a_spec_is_proved(option, value, words, solutions, place, monkeypatch):
    def proved(_: Workspace) -> None:
        pytest.fail("the spec was looked for")

    monkeypatch.setattr(Workspace, "spec", property(proved))
    ran = run_here("star", "--sources", *solutions.some(0, 1), "-o", "x.safetensors", option, value)
    assert (ran.status, words in ran.err) == (1, True)


def test_sources_trained_differently_need_a_recipe(solutions, place):
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--limit", 300, "--val-fraction", 0.2)
    run_here("train", *network, "--epochs", 1, "-o", "short.safetensors")
    words = ("star", "--sources", solutions[1], "short.safetensors", "-o", "s.safetensors")
    ran = run_here(*words)
    assert ran.status == 1
    assert "epochs" in ran.err
    assert "--recipe" in ran.err
    assert run_here(*words, "--recipe", "default", "--epochs", 1).status == 0


def test_a_star_is_called_star_unless_told(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1)
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert [row["output"] for row in ran.rows] == ["star.safetensors"]
    assert read_metadata(place / "star.safetensors")[1].kind == "star"
    several = run_here(*words, "--seeds", "0-1")
    assert several.status == 1
    assert "a template with {seed} tells them apart" in several.err


def test_a_star_on_stdout(solutions):
    ran = run_here("star", "--sources", *solutions.some(0, 1), "--epochs", 1, "-o", "-")
    assert ran.status == 0, ran.err
    assert '"type": "star"' in ran.err
    [row] = run_here("eval", "-", stdin=ran.stdout).rows
    assert row["model"] == "stdin"


def _copied(path, target):
    target.parent.mkdir(exist_ok=True)
    shutil.copy(path, target)
    return target


def _refused(words, place, *expected):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StarRuns, "make", lambda *_: pytest.fail("searched"))
        ran = run_here("star", *words, "--epochs", 1)
    assert ran.status == 1, ran.err
    assert all(word in ran.err for word in expected), ran.err
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_nothing_that_is_read_is_written_over(solutions, place):
    sources = ("--sources", *solutions.some(0, 1))
    held_out = _copied(solutions[3], place / "held" / "0.safetensors")
    for more in (("--held-out", held_out, "--force"), ("--init", held_out, "--force")):
        _refused((*sources, *more, "--aligned-sources", "held", "-o", "s.safetensors"), place, "is an input")
    _refused((*sources, "--init", held_out, "-o", held_out, "--force"), place, "is an input")
    _refused((*sources, "--init", held_out, "-o", "held/./0.safetensors", "--force"), place, "is an input")
    own = [_copied(solutions[n], place / "own" / f"{n}.safetensors") for n in (0, 1)]
    _refused(("--sources", *own, "--aligned-sources", "own", "-o", "s.safetensors", "--force"), place, "is an input")


def test_where_aligned_sources_cannot_go_is_said_before_the_search(solutions, place):
    (place / "file").write_text("")
    sources = ("--sources", *solutions.some(0, 1))
    _refused((*sources, "--aligned-sources", "file", "-o", "s.safetensors"), place, "file: is no directory")
    _refused((*sources, "--aligned-sources", "file/below", "-o", "s.safetensors"), place, "file: is no directory")
    _refused((*sources, "--aligned-sources", "kept", "-o", "-"), place, "needs the star in a file")
    _refused((*sources, "--aligned-sources", ".", "-o", "0.safetensors"), place, "is an output")


def test_what_lies_among_aligned_sources_is_not_written_over_unless_forced(solutions, place):
    other = _copied(solutions[4], place / "kept" / "0.safetensors")
    words = ("--sources", *solutions.some(0, 1), "--aligned-sources", "kept", "-o", "s.safetensors")
    _refused(words, place, "kept/0.safetensors: exists", "--force")
    assert run_here("star", *words, "--epochs", 1, "--force").status == 0
    kept = {path.name: path.read_bytes() for path in (place / "kept").iterdir()}
    assert kept.keys() == {"0.safetensors", "1.safetensors"}
    assert kept["0.safetensors"] != solutions[4].read_bytes()
    (place / "s.safetensors").unlink()  # as a run killed before its last write leaves it
    other.unlink()
    assert run_here("star", *words, "--epochs", 1).status == 0
    assert {path.name: path.read_bytes() for path in (place / "kept").iterdir()} == kept
    (place / "s.safetensors").unlink()
    _refused((*words, "--seed", 5), place, "made otherwise", "aligned_by run")


def test_sources_of_one_name_are_kept_under_several(solutions, place):
    sources = [_copied(solutions[n], place / f"{n}" / "model.safetensors") for n in (0, 1)]
    words = ("--sources", *sources, "--aligned-sources", "kept", "--epochs", 1)
    assert run_here("star", *words, "-o", "s.safetensors").status == 0
    assert {path.name for path in (place / "kept").iterdir()} == {"0-model.safetensors", "1-model.safetensors"}
    judged = ("--star", "s.safetensors", "--sources", *sources, "--held-out", solutions[3], "--points", 3)
    ran = run_here("barrier", *judged, "--aligned-sources", "kept", "--align", "weight")
    assert ran.status == 0, ran.err
    assert run_here("star", *words, "--seeds", "0-1", "-o", "s{seed}/star.safetensors").status == 0
    kept = {str(path.relative_to(place)) for path in (place / "kept").glob("*/*")}
    assert kept == {f"kept/{a}-star/{b}-model.safetensors" for a in (0, 1) for b in (0, 1)}


def test_places_of_aligned_sources_vary_by_the_seed(solutions, place):
    words = ("--sources", *solutions.some(0, 1), "--epochs", 1)
    for seeds in (("--seeds", "0-1"), ("--seed", 2)):
        ran = run_here("star", *words, *seeds, "--aligned-sources", "al{seed}", "-o", "s{seed}.safetensors")
        assert ran.status == 0, ran.err
    kept = {str(path.relative_to(place)) for path in place.glob("al*/*")}
    assert kept == {f"al{seed}/{name}.safetensors" for seed in (0, 1, 2) for name in (0, 1)}
    _refused((*words, "--aligned-sources", "al{name}", "-o", "x.safetensors"), place, "--aligned-sources", "{seed}")


def test_sources_say_how_they_were_aligned_last(solutions, place):
    words = ("--sources", *solutions.some(0, 1), "--align", "learn", "--align-steps", 2, "--aligned-sources")
    for epochs, method in ((1, "learn"), (2, "weight")):
        run_here("star", *words, f"kept{epochs}", "--epochs", epochs, "-o", f"s{epochs}.safetensors")
        kept = sorted((place / f"kept{epochs}").iterdir())
        assert [read_metadata(each)[1].aligned_to.method for each in kept] == [method, method]
