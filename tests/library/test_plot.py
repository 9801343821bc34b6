"""sc.plot: results of the library are drawn as those of the commands."""

import pytest
from support.figures import fusion_rows, hill, model_rows, plane_row, posterior_rows

import starcli as sc
from starcli.barriers.all_pairs import PairsReport
from starcli.barriers.intervals import group_of
from starcli.barriers.line_barrier import Curve
from starcli.evaluation.scores import Scores
from starcli.landscape.measure import Landscape, Mark
from starcli.plots.draw import draw


def test_results_of_the_library(tmp_path):
    barrier = hill(0.5)
    group = group_of([(0, 1)] * 3, [barrier] * 3, [])
    scores = {"train": Scores(0.1, {"accuracy": 0.9}, 10), "test": Scores(0.1, {"accuracy": 0.9}, 10)}
    report = sc.StarReport(scores, {}, {"star-source": group, "star-held-out": group}, {})
    pairs = PairsReport(["a", "b", "c"], [(0, 1), (0, 2), (1, 2)], [barrier] * 3)
    for number, result in enumerate([barrier, report, pairs, sc.ResultTable(posterior_rows())]):
        sc.plot(result, tmp_path / f"{number}.pdf")
        assert (tmp_path / f"{number}.pdf").read_bytes().startswith(b"%PDF")
    sc.plot(sc.ResultTable(model_rows(["a"])), str(tmp_path / "e.svg"))
    assert (tmp_path / "e.svg").read_bytes() == draw({"": model_rows(["a"])}, "svg")
    sc.plot({"one": barrier, "other": hill(0.7)}, tmp_path / "two.svg", width="85mm", font="9")
    drawn = (tmp_path / "two.svg").read_text()
    assert ">one: 0.50 / 0.50<" in drawn
    assert ">other: 0.70 / 0.70<" in drawn


def landscape(names: list[str], *, kind: str = "plane", metric: str = "accuracy") -> Landscape:
    row = plane_row(names, kind=kind)
    scores = {"train": Scores(0.1, {metric: 0.9}, 10), "test": Scores(0.1, {metric: 0.9}, 10)}
    values = {split: {"loss": row[split]["loss"], metric: row[split]["accuracy"]} for split in scores}
    marks = [Mark(name, place, scores) for name, place in zip(names, row["places"], strict=True)]
    return Landscape(tuple(row["x"]), tuple(row["y"]), values, marks, row.get("curve", {}))


def test_planes_surfaces_and_fused_models_are_drawn_as_their_commands_draw_them(tmp_path):
    for kind, names in {"plane": ["a", "b", "c"], "surface": ["a"]}.items():
        found = landscape(names, kind=kind)
        sc.plot(found, tmp_path / f"{kind}.svg")
        assert (tmp_path / f"{kind}.svg").read_bytes() == draw({"": [{"type": kind, **found.to_dict()}]}, "svg")
    rows = [{**row, "name": row["model"]} for row in fusion_rows()]
    sc.plot(sc.ResultTable([{k: v for k, v in row.items() if k != "type"} for row in rows]), tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_bytes() == draw({"": rows}, "svg")


def test_losses_of_numbers_are_not_in_nats(tmp_path):
    ts = (0.0, 0.5, 1.0)
    curve = Curve.of(ts, [Scores(loss, {"r2": 1 - loss, "rmse": loss**0.5}, 10) for loss in (0.1, 0.4, 0.1)])
    for name, found in {"line": sc.Barrier(ts, {"train": curve}), "plane": landscape(["a", "b"], metric="r2")}.items():
        sc.plot(found, tmp_path / f"{name}.svg")
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert "loss (MSE)" in drawn
        assert "nats" not in drawn


def test_what_cannot_be_drawn(tmp_path):
    of_numbers = sc.ResultTable([{"model": "a", "split": "test", "task": "regression", "r2": 0.5}])
    with pytest.raises(sc.StarcliError, match=r"^a result cannot be drawn: reliability diagrams are of classes"):
        sc.plot(of_numbers, tmp_path / "r.png")
    with pytest.raises(sc.StarcliError, match=r"expected a result of barrier.* found float"):
        sc.plot(0.5, tmp_path / "x.svg")  # type: ignore[arg-type]
    with pytest.raises(sc.StarcliError, match="one kind of results"):
        sc.plot({"a": hill(0.5), "b": sc.ResultTable(model_rows(["a"]))}, tmp_path / "x.svg")
    with pytest.raises(sc.StarcliError, match="figure width"):
        sc.plot(hill(0.5), tmp_path / "x.svg", width="3")
    with pytest.raises(sc.StarcliError, match="cannot draw"):
        sc.plot(hill(0.5), tmp_path / "x.jpg")
