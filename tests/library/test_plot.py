"""sc.plot: results of the library are drawn as those of the commands."""

import pytest
from support.figures import hill, model_rows, posterior_rows

import starcli as sc
from starcli.barriers.intervals import group_of
from starcli.evaluation.scores import Scores
from starcli.library.barrier import PairsReport
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


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(sc.StarcliError, match=r"expected a result of barrier.* found float"):
        sc.plot(0.5, tmp_path / "x.svg")  # type: ignore[arg-type]
    with pytest.raises(sc.StarcliError, match="one kind of results"):
        sc.plot({"a": hill(0.5), "b": sc.ResultTable(model_rows(["a"]))}, tmp_path / "x.svg")
    with pytest.raises(sc.StarcliError, match="figure width"):
        sc.plot(hill(0.5), tmp_path / "x.svg", width="3")
    with pytest.raises(sc.StarcliError, match="cannot draw"):
        sc.plot(hill(0.5), tmp_path / "x.jpg")
