"""Figures: nothing is clipped or lies over other things, whatever the names; the same bytes for the same numbers."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from support.figures import (
    Row,
    all_pairs,
    drawn_figures,
    drawn_parts,
    epochs,
    fusion_rows,
    line,
    model_rows,
    plane_row,
    posterior_rows,
    posterior_rows_at,
    star_rows,
)

from starcli.errors import StarcliError
from starcli.plots.draw import draw
from starcli.plots.look import Look
from starcli.plots.style import FIGURE_FORMATS, check_format

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}

COLUMN = Look(width=3.25, size=7)

NARROW = Look(width=2.0)

LONG = "resnet18_cifar10_width64_seed{:04d}_$lr=0.1$_wd5e-4_augmented_epoch200.safetensors"

ODD = ["_begins with one", "$x^2$", "模型 🚀", "two\nlines", "a%b&c#d{e}~\\f", "Grüße", "naïve café"]


def long_names(count: int) -> list[str]:
    return [LONG.format(number) for number in range(count)]


CASES: dict[str, dict[str, list[Row]]] = {
    "a line": {"": [line("a.safetensors", "b.safetensors")]},
    "a line of long names": {"": [line(*long_names(2))]},
    "a line without names": {"": [line("", "")]},
    "three lines": {"": [line("a", name) for name in "bcd"]},
    "twelve lines of long names": {"": [line(LONG.format(99), name) for name in long_names(12)]},
    "lines of odd names": {"": [line("$a_b$", name) for name in ODD]},
    "many lines": {"": [line("a", name) for name in long_names(40)]},
    "files of lines": {LONG.format(n): [line("a", "b", 0.1 * n, alignment=f"weight, {n} restarts")] for n in (1, 2)},
    "a star": {"": star_rows()},
    "stars of two files": {name: star_rows(2) for name in ("width 4", LONG.format(0))},
    "equal values": {"": [line("a", "b", 0.0)]},
    "perfect accuracy": {"": [line("a", "b", 0.0, base=0.0, accuracy=1.0)]},
    "a small loss": {"": [line("a", "b", 3e-8, base=1e-8)]},
    "a large loss": {"": [line("a", "b", 1e3)]},
    "far from zero": {"": [line("a", "b", 0.1, base=2.1)]},
    "not finite": {"": [line("a", "b", math.nan)]},
    "two models": {"": all_pairs(["a", "b"])},
    "pairs": {"": all_pairs(list("abcde"))},
    "pairs of long names": {"": all_pairs(long_names(12))},
    "pairs of odd names": {"": all_pairs(ODD)},
    "many pairs": {"": all_pairs(long_names(30))},
    "pairs of two files": {"width 4": all_pairs(list("abc")), LONG.format(0): all_pairs(long_names(4))},
    "averages": {"": posterior_rows()},
    "averages of one repeat": {"": posterior_rows(1, decided=False)},
    "averages of two files": {"width 4": posterior_rows(), LONG.format(0): posterior_rows(2)},
    "averages at temperatures": {"": posterior_rows_at(0.5)},
    "a model": {"": model_rows(["a"])},
    "models of long names": {"": model_rows(long_names(5))},
    "models of odd names": {"": model_rows(ODD)},
    "models of two files": {"width 4": model_rows(["a"]), LONG.format(0): model_rows(["a", "b"])},
    "a temperature": {"": model_rows(["a"], temperature=1.234, scaled=model_rows(["a"])[0])},
    "a fused model": {"": fusion_rows()},
    "fused models that are close": {"": [row | {"accuracy": 0.95 + row["loss"] / 600} for row in fusion_rows()]},
    "fused models": {"width 4": fusion_rows(("test",)), LONG.format(0): fusion_rows()},
    "a plane": {"": [plane_row(["a", "b", "c"])]},
    "a plane of long names": {"": [plane_row(long_names(3), wide=200.0)]},
    "a low plane of which nothing is said": {
        "": [{key: value for key, value in plane_row(["a", "b", "c"], wide=200.0).items() if key != "alignment"}]
    },
    "a plane that is not finite": {"": [plane_row(["a", "b", "c"], worst=math.nan)]},
    "a surface of a small loss": {"": [plane_row(["$a_b$"], worst=0.0, kind="surface")]},
    "planes off which curves are": {name: [plane_row(["a", "b", "c"], distance=len(name))] for name in ("p", "qq")},
    "planes of two files": {name: [plane_row(["a", "b", "c"], wide=2.0)] for name in ("width 4", LONG.format(0))},
    "a run": {"": epochs(5)},
    "runs": {name: epochs(30) for name in long_names(3)},
}


def laid_out(results: dict[str, list[Row]], look: Look) -> tuple[Figure, Any]:
    with drawn_figures() as found:
        draw(results, "svg", look)
    return found[0], found[0].canvas.get_renderer()  # type: ignore[attr-defined]


NUMBERS = (
    "equal values", "perfect accuracy", "a small loss", "a large loss", "far from zero", "not finite", "a temperature",
    "a plane that is not finite", "a surface of a small loss", "averages at temperatures", "a model", "two models",
)  # fmt: skip
"""Cases of numbers alone, which take the same place in every figure: the narrower are tighter."""

LAYOUTS = [
    *(pytest.param(case, COLUMN, id=f"{case}, column") for case in CASES),
    *(pytest.param(case, Look(), id=f"{case}, page", marks=pytest.mark.slow) for case in CASES if case not in NUMBERS),
    *(
        pytest.param(case, Look(width=3.25), id=f"{case}, column, large")
        for case in ("averages of one repeat", "fused models that are close")
    ),
    *(
        pytest.param(case, NARROW, id=f"{case}, narrow", marks=pytest.mark.slow)
        for case in CASES
        if "pairs of two" not in case  # their numbers need 2.5 inches
    ),
]


@pytest.mark.parametrize(("case", "look"), LAYOUTS)
def test_nothing_is_clipped_and_nothing_lies_over_another(case: str, look: Look) -> None:
    figure, renderer = laid_out(CASES[case], look)
    whole = figure.bbox
    assert figure.get_figwidth() == look.width
    parts = drawn_parts(figure, renderer)
    for name, box in parts.items():
        assert box.x0 >= -0.5, (case, name)
        assert box.y0 >= -0.5, (case, name)
        assert box.x1 <= whole.x1 + 0.5, (case, name)
        assert box.y1 <= whole.y1 + 0.5, (case, name)
    for (one, first), (other, second) in itertools.combinations(parts.items(), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(wide, high) <= 1.5, (case, one, other)


HOW = ["weight, 1 restart", "activation, 1 restart, 256 examples, best of 10 by midpoint", "none"]


@pytest.mark.parametrize("look", [NARROW, COLUMN], ids=["narrow", "column"])
def test_words_of_a_legend_are_wrapped_and_none_is_left_out(look: Look) -> None:
    figure, _ = laid_out({"": [line("a", "b", 0.1, alignment=how) for how in HOW]}, look)
    texts = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    for text, words in zip(texts, (f"aligned: {HOW[0]}", f"aligned: {HOW[1]}", "models as given"), strict=True):
        assert text.startswith(words)
        assert text.endswith("0.10 / 0.10")


def test_a_narrow_figure_names_the_ends_above_and_no_label_is_longer_than_its_axis() -> None:
    figure, renderer = laid_out({"": star_rows()}, NARROW)
    assert figure._suptitle is not None
    assert figure._suptitle.get_text().startswith("t = 0: star\nt = 1: other")
    for axis in figure.axes:
        label = axis.yaxis.get_label().get_window_extent(renderer)
        assert label.height <= 1.1 * axis.get_window_extent(renderer).height


KINDS = ("a line", "a star", "pairs", "averages", "a model", "a fused model", "a plane", "a run")


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *((case, "svg") for case in KINDS),  # ids, fonts and dates of the other formats are the same in all figures
        *itertools.product(("a line", "a plane"), [each for each in FIGURE_FORMATS if each != "svg"]),
    ],
)
def test_the_same_numbers_give_the_same_bytes(case: str, kind: str) -> None:
    first, second = (draw(CASES[case], kind) for _ in range(2))
    assert first == second
    assert first.startswith(MAGIC[kind])
    assert not re.search(rb"CreationDate|<dc:date>|Software|Matplotlib v", first)


def test_text_stays_text() -> None:
    svg = draw(CASES["a line"], "svg").decode()
    assert "aligned: weight, 10 restarts</text>" in svg
    assert "train loss (nats)</text>" in svg
    assert b"/Subtype /Type0" in draw(CASES["a line"], "pdf")  # embedded TrueType (42), not curves (3)
    assert b"/Type3" not in draw(CASES["a line"], "pdf")


def texts(case: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", draw(CASES[case], "svg").decode())


def test_a_line_has_its_chord_its_barrier_and_the_names_of_its_ends() -> None:
    found = texts("a line")
    assert found.count("0.50") == 2  # the barrier, of train and test
    assert found.count("a") == found.count("b") == 2
    figure, _ = laid_out(CASES["a line"], Look())
    curves = [list(drawn.get_xdata()) for drawn in figure.axes[0].lines]
    assert curves == [[0, 0.25, 0.5, 0.75, 1], [0, 1], [0.5, 0.5]]  # curve, straight line, barrier
    assert list(figure.axes[0].lines[2].get_ydata()) == pytest.approx([0.1, 0.6])


def test_the_barrier_stands_where_the_rise_is_largest_not_the_loss() -> None:
    row = line("a", "b", 0.0)
    for split in ("train", "test"):
        row[split] |= {"loss": [0.0, 1.0, 1.2, 1.4, 1.5], "loss_barrier": 0.625}
    figure, _ = laid_out({"": [row]}, Look())
    assert list(figure.axes[0].lines[2].get_xdata()) == [0.25, 0.25]


def test_a_curve_below_its_chord_has_no_bracket() -> None:
    row = line("a", "b", 0.0)
    for split in ("train", "test"):
        row[split] |= {"loss": [0.3, 0.1, 0.1, 0.1, 0.7], "accuracy": [0.8, 0.9, 0.9, 0.9, 0.7], "loss_barrier": 0.0}
    figure, _ = laid_out({"": [row]}, Look())
    for axis, chord in zip(figure.axes, (0.5, 75) * 2, strict=True):
        assert len(axis.lines) == 2  # the curve and the straight line
        [number] = [text for text in axis.texts if text.get_text() == "0"]
        assert number.xy == pytest.approx((0.5, chord))


def test_a_star_lies_at_0() -> None:
    assert {"star", "other"} <= set(texts("a star"))
    found = texts("a star")
    assert any(text.startswith("star-held-out (3 pairs): ") for text in found)
    assert not any("unaligned" in text for text in found)
    row = {**line("best", "1"), "kinds": ["star", "model"]}
    assert {"best (star)", "model 1"} <= set(re.findall(r">([^<>]+)</text>", draw({"": [row]}, "svg").decode()))


@pytest.mark.parametrize(("pairs", "bands", "thin"), [(1, 0, 0), (2, 0, 0), (3, 1, 3), (30, 1, 30), (31, 1, 0)])
def test_few_pairs_have_no_band(pairs: int, bands: int, thin: int) -> None:
    figure, _ = laid_out({"": [line("a", "b", 0.1 * (1 + i), group="mine") for i in range(pairs)]}, Look())
    collections = figure.axes[0].collections
    assert len([each for each in collections if isinstance(each, PolyCollection)]) == bands
    assert sum(len(each.get_segments()) for each in collections if isinstance(each, LineCollection)) == thin


def test_loss_axes_use_their_range() -> None:
    figure, _ = laid_out(CASES["far from zero"], Look())
    low, high = figure.axes[0].get_ylim()
    assert 2.05 < low < 2.1
    assert 2.2 < high < 2.25
    figure, _ = laid_out(CASES["perfect accuracy"], Look())
    assert figure.axes[0].get_ylim()[0] > -0.1
    assert 100 < figure.axes[1].get_ylim()[1] < 101


def test_each_pair_of_a_matrix_is_written_once() -> None:
    figure, _ = laid_out({"": all_pairs(["a", "b", "c"])}, Look())
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.20", "0.30", "0.40"]
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "train", "test", "train", "test"
    ]  # fmt: skip


def test_a_colour_is_the_same_barrier_in_all_files() -> None:
    """Largest of three models 0.4, of five 0.8: the scale of both ends there, and the same cell has the same colour."""
    figure, _ = laid_out({"narrow": all_pairs(list("abc")), "wide": all_pairs(list("abcde"))}, Look())
    images = [axes.images[0] for axes in figure.axes if axes.images and axes.get_title().endswith("train")]
    narrow, wide = images[0], images[2]  # of the loss; those between are of the accuracy
    assert narrow.get_clim() == wide.get_clim() == (0, pytest.approx(0.8))
    assert narrow.to_rgba(narrow.get_array())[0, 0].tolist() == wide.to_rgba(wide.get_array())[0, 0].tolist()


def test_the_splits_that_were_measured_are_drawn() -> None:
    rows = [line("a", "b")]
    rows[0]["validation"] = rows[0].pop("test")
    labels = re.findall(r">(\w+ loss) \(nats\)</text>", draw({"": rows}, "svg").decode())
    assert labels == ["train loss", "validation loss"]


def test_diagrams_say_their_calibration_error() -> None:
    assert {"ECE 0.012", "test split", "a, T = 1.2"} <= {*texts("a temperature")}
    assert texts("averages").count("star domain (4)") == 1


@pytest.mark.parametrize("look", [NARROW, COLUMN, Look()], ids=["narrow", "column", "page"])
def test_of_several_files_names_of_files_are_shortened_and_nothing_else(look: Look) -> None:
    figure, _ = laid_out({name: posterior_rows() for name in long_names(2)}, look)
    labels = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    names = ["star domain", "ensemble", "single models"]
    assert [label.partition(": ")[2] for label in labels[:6]] == 2 * names
    assert len({label.partition(": ")[0] for label in labels[:6]}) == 2
    assert labels[6:] == ["accuracy", "gap to confidence", "perfect calibration"]


def test_matplotlib_keeps_its_settings() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(CASES["a star"], "svg")
    assert dict(matplotlib.rcParams) == before


def test_suffixes_choose_the_format() -> None:
    assert check_format(Path("a/figure.PNG")) == "png"
    with pytest.raises(StarcliError, match="cannot draw"):
        check_format(Path("figure.pgn"))
    with pytest.raises(StarcliError, match="jpg"):
        draw(CASES["a line"], "jpg")


def without(row: Row, key: str) -> Row:
    return {name: value for name, value in row.items() if name != key}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({}, "nothing to draw"),
        ({"x": []}, "x: there is nothing to draw"),
        ({"x": [{"type": "align"}]}, "x: no figure shows results of type align; there are figures of barrier"),
        ({"x": [{"model": "a"}]}, "x: no figure shows results of type None"),
        ({"x": [line("a", "b"), *model_rows(["a"])]}, "x: one figure shows one kind of results, found barrier, eval"),
        ({"x": [line("a", "b")], "y": model_rows(["a"])}, "one figure shows one kind.*\n  x: barrier\n  y: eval"),
        ({"x": [line("a", "b")], "y": all_pairs(["a", "b"])}, "y: barrier --all-pairs"),
        ({"x": [{"type": "barrier", "a": "a"}]}, "x: a result cannot be drawn: t: field required"),
        ({"x": [{**line("a", "b"), "t": [0, 1]}]}, "x: a result cannot be drawn: a curve has not the 2 points"),
        ({"x": [without(row, "ece_std") for row in posterior_rows()]}, "x: a result cannot be drawn: ece_std: missing"),
        ({"x": [{**line("a", "b"), "t": [0, math.nan, 1]}]}, "x: a result cannot be drawn: t.1: is no place"),
        ({"x": [{**line("a", "b"), "t": [0, 0.5, 0.5]}]}, "x: a result cannot be drawn: t: does not rise"),
        ({"x": [{**line("a", "b"), "train": "high"}]}, "x: a result cannot be drawn: train"),
        ({"x": posterior_rows(), "y": 2 * posterior_rows()}, "y: several runs of bma in one file"),
        ({"": [*all_pairs(list("abc")), *all_pairs(list("cb"))]}, "several runs of barrier --all-pairs in one file"),
        ({"x": [*star_rows(), *2 * [{"type": "star", "star": "s"}]]}, "x: several runs of barrier in one file"),
        ({"x": [{"type": "star", "output": "star.safetensors"}]}, "no figure shows results of type star"),
    ],
)
def test_what_cannot_be_drawn_is_one_error(results: dict[str, list[Row]], words: str) -> None:
    with pytest.raises(StarcliError, match=words):
        draw(results, "svg")


def test_a_barrier_that_is_none_or_not_finite_is_said() -> None:
    assert texts("equal values").count("0") == 4 + 2  # the number in each panel, and t
    assert texts("not finite").count("not finite") == 4


def test_a_curve_off_the_plane_is_dotted_and_says_how_far_off() -> None:
    (lying, _), (off, _) = (laid_out({"": [plane_row(["a", "b", "c"], distance=d)]}, Look()) for d in (1e-6, 0.61))
    assert lying.legends[0].get_texts()[-1].get_text() == "Bezier curve"
    assert off.legends[0].get_texts()[-1].get_text() == "Bezier curve, projected, up to 0.61 (L2) off the plane"
    dashes = [figure.axes[0].lines[0]._dash_pattern[1] for figure in (lying, off)]
    assert dashes[0][0] > 2 * dashes[1][0]
    several = texts("planes off which curves are")
    assert [text for text in several if "projected" in text] == [
        f"Bezier curve, projected, up to {far} (L2) off the plane" for far in ("1.0", "2.0")
    ]


@pytest.mark.parametrize(("wide", "label"), [(10.0, "x (L2)"), (99.0, "x (L2; y stretched 6.7 times)")])
def test_axes_of_a_plane_have_one_scale_or_say_which_is_stretched(wide: float, label: str) -> None:
    figure, _ = laid_out({"": [plane_row(["a", "b", "c"], wide=wide)]}, Look())
    axis = figure.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == (label, "y (L2)")
    box = axis.get_position()
    inches = box.height * figure.get_figheight() / (box.width * figure.get_figwidth())
    drawn = inches * (wide + 1) / 6 if "stretched" not in label else inches / 0.4
    assert drawn == pytest.approx(1, rel=0.12)


def test_colours_of_all_files_have_one_scale_with_both_ends_labelled() -> None:
    results = {name: [plane_row(["a", "b"], worst=worst)] for name, worst in (("low", 0.3), ("high", 3.0))}
    figure, _ = laid_out(results, Look())
    bars = figure.axes[8:]
    ticks = [[text.get_text() for text in bar.get_yticklabels()] for bar in bars]
    assert ticks[:4] == ticks[4:]
    assert (ticks[0][0], ticks[0][-1]) == ("0.001", "3.001")
    assert (ticks[1][0], ticks[1][-1]) == ("40", "100")


def test_a_surface_says_its_directions() -> None:
    row = plane_row(["a"], kind="surface") | {"seed": 7}
    words = set(re.findall(r">([^<>]+)</text>", draw({"": [row]}, "svg").decode()))
    assert {"random directions of seed 7, normalised by filter; radius 1, in the filters' norms"} <= words
    assert {"x (filters' norms)", "y (filters' norms)"} <= words


def test_averages_of_one_number_of_models_stand_at_a_whole_number() -> None:
    rows = [row for row in posterior_rows() if row["samples"] in (1, 2)]
    with drawn_figures() as figures:
        draw({"x": rows}, "png")
    axis = figures[0].axes[0]
    least, most = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if least <= tick <= most] == [2]
