"""The paper's experiments: each runs at its smallest scale, claims are held to their rule, the page is the record's."""

import json
import math
import subprocess
from pathlib import Path

import pytest
from paper import record
from paper.__main__ import NAMES, experiments
from paper.page import page_text, said_of, write_page
from paper.record import FAILS, HOLDS, OPEN, SCALES, Bench, Finding, braces, paired, recorded
from paper.rehearsal import rehearsal_of
from scipy import stats
from support.program import ROOT

PAPER = ROOT / "examples" / "paper"
KNOWN = {each.name: each for each in experiments()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where experiments find the models that others have trained."""
    return tmp_path_factory.mktemp("paper")


def test_every_experiment_is_in_the_order_of_the_page() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in (PAPER / "experiments").glob("[!_]*.py"))
    assert {name: each.name for name, each in zip(NAMES, KNOWN.values(), strict=True)} == {name: name for name in NAMES}
    assert all({"quick", "full"} <= each.scales.keys() <= set(SCALES) for each in KNOWN.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_once_and_is_shown(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = recorded(KNOWN[name], "quick", Bench(shared))
    (shared / "results").mkdir(exist_ok=True)
    (shared / "results" / f"{name}.json").write_text(first)
    write_page([KNOWN[name]], shared)
    page = (shared / "RESULTS.md").read_text()
    assert all(each["line"] in page for each in json.loads(first)["lines"])
    assert all(f"*{finding.verdict}*" in page for finding in KNOWN[name].judge(json.loads(first)["rows"]))
    if KNOWN[name].draw is not None:
        assert {path.suffix for path in (shared / "figures").glob(f"{name}.*")} == {".png", ".svg"}

    monkeypatch.setattr(record, "carry_out", lambda line, directory: pytest.fail(f"carried out again: {line}"))
    assert recorded(KNOWN[name], "quick", Bench(shared)) == first


@pytest.mark.slow
def test_a_dry_run_builds_the_papers_networks(tmp_path: Path) -> None:
    settings = rehearsal_of(KNOWN["vit"], "full", tmp_path)
    learn, bench = "--align learn --align-steps 2", Bench(tmp_path)
    # stars of one number of sources, and few models: the quick scale has more of both
    others = {align: counts[:1] for align, counts in settings["aligns"].items() if align != learn}
    rows = KNOWN["vit"].measure({**settings, "aligns": others, "held_out": 2}, bench)
    lines = [each["line"] for each in bench.lines]
    assert lines[0].startswith("starcli train --recipe paper/vit-mnist --batch-size 4 --limit 8 --epochs 1 ")
    assert {row["align"] for row in rows} == {"none", "weight"}
    # a pair of learning takes 5 s: one of those that all of it would come to
    [line] = [each for each in lines if each.startswith("starcli barrier vit-mnist/0.") and "--align none" in each]
    [row] = bench.line(line.replace("--align none", learn).replace("{100..101}", "100"))
    assert row["alignment"] == "learn, 1 restart, 256 examples, 2 steps"
    assert rehearsal_of(KNOWN["lemma"], "full", tmp_path) == KNOWN["lemma"].scales["quick"]


def test_the_page_is_what_was_recorded() -> None:
    page = (PAPER / "RESULTS.md").read_text()
    assert page == page_text(list(KNOWN.values()), PAPER)
    assert not [each for each in (str(Path.home()), "/tmp", "/usr") if each in page]
    for path in (PAPER / "results").glob("*.json"):
        assert json.loads(path.read_text())["scale"] != "quick"


def test_a_quick_run_says_what_it_found_and_that_it_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for scale, warned in (("quick", True), ("here", False)):
        known = json.loads((PAPER / "results" / "lemma.json").read_text())
        (tmp_path / "results" / "lemma.json").write_text(json.dumps({**known, "scale": scale}))
        said, page = "\n".join(said_of(KNOWN["lemma"], tmp_path)), page_text([KNOWN["lemma"]], tmp_path)
        assert said.count(f"lemma: {HOLDS}: ") == page.count(f"*{HOLDS}* |") > 0
        assert (
            ("prove nothing" in said) == ("prove nothing" in page) == ("Notes on the larger scales" in page) == warned
        )


def test_what_is_no_line_of_a_shell_is_a_comment() -> None:
    for path in (PAPER / "results").glob("*.json"):
        lines = [each["line"] for each in json.loads(path.read_text())["lines"]]
        assert not [line for line in lines if not line.startswith(("starcli ", "# "))]


def test_the_script_writes_the_page_alone(tmp_path: Path) -> None:
    line = ["bash", PAPER / "run.sh", "--page", "--record", tmp_path]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "RESULTS.md").read_text().count("not run") >= len(NAMES)


def test_an_interval_of_models_is_students() -> None:
    values = [0.3, 0.1, 0.25, 0.2]
    mean, (low, high), p = paired({(n,): value for n, value in enumerate(values)})
    expected = stats.ttest_1samp(values, 0)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (mean, p) == pytest.approx((sum(values) / 4, expected.pvalue))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_claim_is_held_to_its_interval(sign: int) -> None:
    verdicts = {1: HOLDS, -1: FAILS}
    sure = {(star, model): sign * (1 + 0.01 * model) for star in range(2) for model in range(3)}
    assert Finding.above("", "", sure).verdict == verdicts[sign]
    assert Finding.near("", "", sure, 2.0).verdict == HOLDS
    assert Finding.near("", "", sure, 0.5).verdict == FAILS
    assert Finding.near("", "", sure, 1.01).verdict == OPEN
    unsure = {(model,): sign * value for model, value in enumerate([1.0, -0.8, 0.1])}
    assert Finding.above("", "", unsure).verdict == OPEN
    few = Finding.above("", "", {(0,): 1.0, (1,): 1.1})
    assert few.verdict == OPEN
    assert math.isnan(few.p)


def test_a_fall_is_that_of_least_squares() -> None:
    points = [(0.0, 3.0), (1.0, 2.1), (2.0, 1.2), (3.0, -0.1)]
    fit = stats.linregress(*zip(*points, strict=True))
    found = Finding.falling("", "", points)
    assert (found.verdict, found.difference, found.p) == (HOLDS, pytest.approx(-fit.slope), pytest.approx(fit.pvalue))
    assert Finding.falling("", "", [(x, -y) for x, y in points]).verdict == FAILS
    assert Finding.falling("", "", [(0, 1), (1, 5), (2, 0), (3, 4)]).verdict == OPEN


def test_braces_are_bashs() -> None:
    asked = "a/{0..3}.x", "{7..7}", "plain", "{seed}"
    said = subprocess.run(["bash", "-c", f"echo {' '.join(asked)}"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [each for word in asked for each in braces(word)]
