"""The page: whole HTML, nothing that runs or is fetched, the same bytes, whatever the files hold."""

import json
import random
import re
from html.parser import HTMLParser

import pytest
import torch
from support.figures import (
    all_pairs,
    epochs,
    fusion_rows,
    line,
    model_rows,
    posterior_rows,
    posterior_rows_at,
    saved,
    star_rows,
)

from starcli.checkpoints.checkpoint import write
from starcli.checkpoints.metadata import Ancestor, Architecture, Metadata
from starcli.errors import StarcliError
from starcli.plots.parts import two_digits
from starcli.reports.findings import find
from starcli.reports.html import VOID
from starcli.reports.page import render_page

EVIL = "<script>alert(1)</script>"
WORSE = "\"'></title></style></script><img src=x onerror=alert(1)>"


class Checked(HTMLParser):
    """Reads a page strictly: what is opened is closed, ids are unique, nothing comes from elsewhere."""

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.texts = [], set(), set(), {}, []
        self.feed(page)
        self.close()
        assert self.open == []
        assert {link.removeprefix("#") for link in self.links} <= self.ids

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        assert not [name for name in names if name.startswith("on") or name in ("src", "srcset", "action", "style")]
        found = dict(attrs)
        if "href" in found:
            assert found["href"].startswith("#")
            self.links.add(found["href"])
        if "id" in found:
            assert found["id"] not in self.ids
            self.ids.add(found["id"])
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in ("circle", "line", "path", "rect")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)


def matrix_rows(names):
    """All pairs with their matrix."""
    *rows, summary = all_pairs(names)
    matrix = [[0.0 if i == j else 0.1 * (1 + i + j) for j in range(len(names))] for i in range(len(names))]
    return [*rows, {**summary, "matrix": {"train": matrix, "test": matrix}, "star_share": {"0.1": 0.5}}]


def model(place, name, *, arch="mlp", parents=(), ancestors=(), **more):
    network = Architecture(name=arch, arguments={"width": arch}, input_shape=[4])
    records = {"architecture": network, "parents": list(parents), "ancestors": list(ancestors), **more}
    return write(place / name, {"w": torch.full((2,), float(len(name)))}, Metadata(**records)).weights_sha256


@pytest.fixture
def directory(tmp_path):
    """A directory of everything, in which every name is hostile."""
    first = model(tmp_path, "0.safetensors", arch=EVIL)
    scores = {"test": {"loss": 0.1, "accuracy": 0.9}, EVIL: {EVIL: EVIL}}
    ancestors = [Ancestor(sha256=first, name=WORSE, kind="model"), Ancestor(sha256="e" * 64, name=EVIL, kind="model")]
    model(
        tmp_path, "<script>alert(1)<.safetensors", arch=WORSE, parents=[first, "e" * 64], ancestors=ancestors,
        kind="star", metrics=scores, recipe={WORSE: EVIL, "star": {EVIL: WORSE}}, seed=1,
    )  # fmt: skip
    summaries = [
        {"type": "summary", "group": group, "count": 3, "test": {"mean": mean, "std": 0.1, "interval": [None, None]}}
        for group, mean in (("regular-regular (unaligned)", 2.0), ("regular-regular", 0.6), ("star-held-out", 0.2))
    ]
    rows = {
        "lines": [{**line(EVIL, WORSE, alignment=EVIL), "command": f"starcli barrier '{WORSE}'"}, line("a", EVIL)],
        "star": [*star_rows(), *summaries],
        "pairs": matrix_rows([EVIL, WORSE, "c"]),
        "bma": posterior_rows(),
        "eval": [{**row, "accuracy": 0.9, "nll": 0.4} for row in model_rows([EVIL, WORSE])],
        "fuse": [{**row, "name": EVIL} for row in fusion_rows()],
        "other": [{"type": EVIL, EVIL: WORSE, "deep": {WORSE: {EVIL: 1.5}}, "list": [EVIL, 2]}],
    }
    for name, some in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(saved(some))
    (tmp_path / f"{EVIL.replace('/', '')}.metrics.jsonl").write_text(saved(epochs(4)))
    (tmp_path / "theirs.json").write_text('{"model_type": "bert"}')
    (tmp_path / f"{WORSE.replace('/', '')}.jsonl").write_text("no results")
    return tmp_path


def test_hostile_names_are_text_and_nothing_is_fetched(directory):
    page = render_page(find([directory], title=WORSE))
    read = Checked(page)
    assert read.tags["script"] == read.tags["style"] == read.tags["html"] == 1
    assert "img" not in read.tags
    assert read.texts.count(EVIL) > 5
    assert WORSE in read.texts
    assert not re.search(r"""(?:https?:)?//(?!www\.w3\.org/2000/svg")\w+\.\w+|url\(|@import|fetch\(|import\(""", page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert policy[1].startswith("default-src &#x27;none&#x27;;")
    assert "script-src &#x27;sha256-" in policy[1]


def test_averages_at_temperatures_say_so(tmp_path):
    for temperature in (0.5, 2.0):
        path = tmp_path / f"{temperature}.jsonl"
        path.write_text(saved(posterior_rows_at(temperature)))
        page = render_page(find([path]))
        assert f"t: beta:5,1; each source in turn; T = {two_digits(temperature)}, fitted on validation" in page
        assert all(words in page for words in ("loss at temperature", "ECE at temperature"))


def test_all_that_is_there_has_its_section_and_nothing_else(directory, tmp_path):
    found = find([directory])
    headings = re.findall(r"<h2>(.*?)</h2>", render_page(found))
    assert headings == [
        "Models", "Loss barriers", "All pairs", "Averaged predictions", "Evaluation", "Fusion", "Training",
        "Other results", "How it was made",
    ]  # fmt: skip
    [left_out] = found.left_out  # what is not ours and does not look so is passed over
    assert "line 1 is not JSON" in left_out
    alone = render_page(find([directory / "eval.jsonl"]))
    assert re.findall(r"<h2>(.*?)</h2>", alone) == ["Evaluation"]
    Checked(alone)


def test_the_main_numbers_stand_above(directory):
    page = render_page(find([directory]))
    above = page[: page.index("<nav")]
    assert "the test loss rises by 0.6000 nats on average (unaligned: 2.0000); from the star" in above
    assert "0.2000, 33% of that." in above
    assert "barriers between all 3 models are 0.3000 nats on average, from 0.2000" in above
    assert "over an ensemble of 3 models 0.9000 nats" in above
    assert "has the highest test accuracy, 90.00% at a loss of 0.4000" in above


def test_numbers_are_spoken_of_by_their_own_metric_and_unit(tmp_path):
    """Nowhere on the page of a regression are there nats, or accuracies."""
    task = {"task": "regression"}
    for name, r2 in (("a", 0.75), ("b", 0.5)):
        row = {"type": "eval", "model": name, "split": "test", "loss": 1 - r2, "r2": r2, "rmse": (1 - r2) ** 0.5}
        (tmp_path / f"{name}.jsonl").write_text(saved([{**row, **task}]))
    average = {"type": "bma", "posterior": "ensemble", "samples": 2, "repeats": 1, "split": "test", "loss": 0.25}
    (tmp_path / "bma.jsonl").write_text(saved([{**average, "r2": 0.875, "rmse": 0.5, "alignment": "none", **task}]))
    names = ["a", "b", "c"]
    (tmp_path / "pairs.jsonl").write_text(saved([{**row, **task} for row in _numbers(matrix_rows(names))]))
    page = render_page(find([tmp_path]))
    body = page[page.index("<body") :]
    assert "Of 2 models a has the highest test R², 0.7500 at a loss of 0.2500 (mean of all: 0.6250)" in body
    assert "over an ensemble of 2 models 0.2500 (MSE) (R² 0.8750)" in body
    assert re.search(r"barriers between all 3 models are [0-9.]+ \(MSE\) on average", body)
    assert "barriers of all pairs (MSE)" in body
    assert "nats" not in body
    assert "accuracy" not in body


def _numbers(rows):
    """Rows of classes as if they were of numbers."""
    for row in rows:
        yield json.loads(json.dumps(row).replace("accuracy", "r2"))


def test_the_best_model_is_one_of_the_same_data(tmp_path):
    for name, data, accuracy in (("a", "x", 0.9), ("b", "x", 0.8), ("c", "y", 0.5), ("d", "y", 0.6)):
        [row] = model_rows([name])
        row |= {"accuracy": accuracy, "nll": 1 - accuracy, "data": {"name": data, "fingerprint": data}}
        (tmp_path / f"{name}.jsonl").write_text(saved([row]))
    page = render_page(find([tmp_path]))
    assert "Of 2 models on x a has the highest test accuracy, 90.00% at a loss of 0.1000 (mean of all: 85.00%)" in page
    assert "Of 2 models on y d has the highest test accuracy, 60.00% at a loss of 0.4000 (mean of all: 55.00%)" in page


def test_the_best_model_is_one_of_those_that_were_measured_alike(tmp_path):
    """Figures with re-estimated statistics stand apart, by the training data; a file's own do not depend on these."""
    data, own = {"name": "x", "fingerprint": "123456789"}, {"name": "own", "fingerprint": "77"}
    anew, part = {"statistics": "recalibrate"}, {**own, "limit": 50, "val_fraction": 0.2}
    ways = (({}, 0.9), ({"train_data": own}, 0.8), (anew, 0.7), ({**anew, "train_data": own}, 0.6))
    ways = (*ways, ({**anew, "train_data": part}, 0.5))
    for number, (way, accuracy) in enumerate(ways):
        rows = model_rows(["a"]) + model_rows(["b"])
        for row, less in zip(rows, (0, 0.1), strict=True):
            row |= {"accuracy": accuracy - less, "nll": 1 - accuracy, "data": data, **way}
        (tmp_path / f"{number}.jsonl").write_text(saved(rows))
    page = render_page(find([tmp_path]))
    assert "Of 2 models on x a has the highest test accuracy, 80.00%" in page
    said = "Of 2 models on x (BatchNorm statistics re-estimated on {}) a has the highest test accuracy, {}"
    assert said.format("x", "70.00%") in page
    assert said.format("own", "60.00%") in page
    assert said.format("own, --limit 50, --val-fraction 0.2", "50.00%") in page
    assert "90.00%" not in page[: page.index("<nav")]


def test_files_of_one_name_are_different_models(tmp_path):
    """Where they are there; a row of a file that was made anew gives way to the later one."""
    for number, (place, accuracy) in enumerate((("", 0.9), ("", 0.8), ("epoch1", 0.6))):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "0.safetensors").unlink(missing_ok=True)
        tensors = {"w": torch.full((2,), float(number))}
        stored = write(tmp_path / place / "0.safetensors", tensors, Metadata(kind="model"))
        [row] = model_rows(["0.safetensors"])
        weights = [stored.weights_sha256[:12]]
        row |= {"accuracy": accuracy, "nll": 1 - accuracy, "weights": weights, "data": {"name": "x"}}
        (tmp_path / f"{number}.jsonl").write_text(saved([row]))
    above = render_page(find([tmp_path]))
    assert "Of 2 models 0 has the highest test accuracy, 80.00%" in above
    assert "(mean of all: 70.00%)" in above


def test_data_of_one_name_are_told_apart(tmp_path):
    for name, accuracy in (("a", 0.9), ("b", 0.8)):
        rows = model_rows([name]) + model_rows([f"{name}2"])
        for row in rows:
            row |= {"accuracy": accuracy, "nll": 0.5, "data": {"name": "arrays", "fingerprint": 10 * name}}
        (tmp_path / f"{name}.jsonl").write_text(saved(rows))
    above = render_page(find([tmp_path]))
    assert "Of 2 models on arrays aaaaaa a" in above
    assert "Of 2 models on arrays bbbbbb b" in above


def test_the_same_files_give_the_same_bytes(directory):
    paths = sorted(directory.iterdir(), key=str)
    assert render_page(find([directory])) == render_page(find([directory]))
    named = [path for path in paths if path.name not in ("theirs.json",) and "onerror" not in path.name]
    assert render_page(find(named)) == render_page(find(named))


def test_several_runs_in_one_file_are_told_apart_by_their_lines(tmp_path):
    runs = [{**line("a", "b", 0.5), "command": "starcli one"}, line("a", "c"), {**line("a", "d"), "command": "two"}]
    (tmp_path / "all.jsonl").write_text(saved(runs))
    found = find([tmp_path])
    assert [(run.name, run.line, len(run.rows)) for run in found.runs] == [
        ("all (1)", "starcli one", 2),
        ("all (2)", "two", 1),
    ]


def test_numbers_sort_by_their_values_and_words_stand_as_they_are(tmp_path):
    rows = [{**row, "accuracy": 0.123456789, "nll": None} for row in model_rows(["m"])]
    (tmp_path / "e.jsonl").write_text(saved(rows))
    page = render_page(find([tmp_path]))
    assert '<td class="number" data-value="0.123456789">12.35%</td>' in page
    assert ">loss</th>" not in page  # a column without any value is left out


JUNK = [None, True, -1, 10**400, 1e308, "", EVIL, [], [[[1]]], {"a": {"b": {"c": 1}}}, ["x"] * 20, "NaN", [None, None]]


def mangled(value, draw, share):
    """A value of which some parts are something else."""
    if draw.random() < share:
        return draw.choice(JUNK)
    if isinstance(value, dict):
        return mangled_row(value, draw, share)
    if isinstance(value, list):
        return [mangled(each, draw, share / 5) for each in value]
    return value


def mangled_row(row, draw, share):
    return {k: v if k in ("type", "epoch") else mangled(v, draw, share) for k, v in row.items()}


def test_mangled_results_are_shown_or_refused_in_words(tmp_path):
    draw = random.Random(5)
    groups = [{"type": "summary", "group": "regular-regular", "train": {"mean": 1.0, "std": 0.1, "interval": [0, 1]}}]
    star = [{"type": "star", "star": "s", "star_loss": {"train": 1.0}, "regular_loss": {"train": {"mean": 1.0}}}]
    align = {"type": "align", "model": "a", "output": "b.safetensors", "seconds": 1.0, "command": "x"}
    kinds = [
        [*star_rows(), *groups, *star], matrix_rows(["a", "b", "c"]), posterior_rows(), model_rows(["a"]),
        fusion_rows(), epochs(3), [align],
    ]  # fmt: skip
    shown = 0
    for number in range(140):
        rows = [mangled_row(row, draw, 0.02) for row in kinds[number % len(kinds)]]
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps({"schema": 1, **row}) + "\n" for row in rows))
        try:
            page = render_page(find([path]))
        except StarcliError:
            continue
        shown += 1
        Checked(page)
    assert 20 < shown < 120


def test_errors(tmp_path):
    with pytest.raises(StarcliError, match="no checkpoint and no saved results to report"):
        find([tmp_path])
    (tmp_path / "a.jsonl").write_text(saved([{**line("a", "b"), "t": [0.0]}]))
    with pytest.raises(StarcliError, match=r"a\.jsonl: a result cannot be drawn: a curve has not the 1 points of t"):
        find([tmp_path / "a.jsonl"])
    with pytest.raises(StarcliError, match="no checkpoint and no saved results to report") as caught:
        find([tmp_path])
    assert "a curve has not the 1 points" in caught.value.problems[0]
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(StarcliError, match="not a whole safetensors file"):
        find([tmp_path / "b.safetensors"])


def test_a_curve_has_its_name_its_chord_and_its_barrier(tmp_path):
    row = line("a", "b") | {"path": "bezier", "bends": ["bend.safetensors"]}
    (tmp_path / "curve.jsonl").write_text(saved([row]))
    page = render_page(find([tmp_path]))
    assert "On the Bezier curve by way of bend from a to b the test loss rises by 0.5000 nats" in page
    assert "line 1" not in page
    assert page.count('d0 chord"') == page.count('d0 mark"') == 4
    top, half = float(row["train"]["t_max"]), 46 + (390 - 16 - 46) / 2
    assert top == 0.5
    assert re.search(rf'<path d="M{half:g} [0-9.]+L{half:g} [0-9.]+" class="curve s0 d0 mark"/>', page)
    (tmp_path / "curve.jsonl").write_text(saved([line("a", "b"), line("a", "c"), line("a", "d"), line("a", "e", 0.1)]))
    page = render_page(find([tmp_path]))
    assert "On 4 lines between models the test loss rises by 0.4000 nats on average, by 0.1000 to 0.5000." in page
    assert 'mark"' not in page


def test_points_are_no_models_and_growth_and_curves_are_spoken_of(tmp_path):
    ancestors = [Ancestor(sha256=model(tmp_path, "a.safetensors"), name="a.safetensors", kind="star")]
    parents = [each.sha256 for each in ancestors]
    grown = {"epochs": 3, "star": {"grown": {"new": 2, "dropped": 1, "epochs_anew": 8}}}
    model(tmp_path, "grown.safetensors", kind="star", parents=parents, ancestors=ancestors, recipe=grown)
    point = model(tmp_path, "point.safetensors", parents=parents, recipe={"interpolate": {"weights": [0.5, 0.5]}})
    rows = [{**row, "weights": [("f" * 64, point)[row["model"] == "p"][:12]]} for row in model_rows(["a", "b", "p"])]
    (tmp_path / "eval.jsonl").write_text(saved([{**row, "accuracy": 0.9, "nll": 0.4} for row in rows]))
    curve = {"type": "curve", "output": "runs/bend.safetensors", "form": "bezier", "curve": {"loss": 0.25}}
    (tmp_path / "curve.jsonl").write_text(saved([curve]))
    page = render_page(find([tmp_path]))
    assert ": 1 model, 1 star, 1 point." in page
    assert "grown grew from a: 2 of its sources are new, 1 were dropped, epochs: 3, trained anew 8." in page
    assert "Along the Bezier curve by way of bend the training loss is 0.2500 nats on average." in page
    assert "Of 2 models a has the highest test accuracy" in page


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_deviation_is_spoken_of_where_there_is_one(repeats, tmp_path):
    (tmp_path / "bma.jsonl").write_text(saved(posterior_rows(repeats)))
    page = render_page(find([tmp_path]))
    assert ("± one deviation over repeats" in page) == ("means over repeats" in page) == (repeats > 1)
    assert ("averages, each drawn once" in page) == (repeats == 1)
