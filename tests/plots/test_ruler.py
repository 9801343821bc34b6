"""Names in figures: shortened to a width such that they still differ; widths and fonts as papers ask for them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starcli.errors import StarcliError
from starcli.plots.look import Look
from starcli.plots.ruler import Ruler

RULER = Ruler(Look())

NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=70), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(NAMES, st.floats(0.8, 5))
def test_short_names_fit_and_differ_as_names_do(names: list[str], inches: float) -> None:
    short = RULER.distinct(names, inches)
    assert len(set(short)) == len(set(map(RULER.plain, names)))
    for name in short:
        assert RULER.width(name) <= inches + 1e-9


def test_what_names_share_is_left_out_first() -> None:
    names = [f"{'beginning' * 9}{number}{'end' * 20}" for number in range(12)]
    for number, short in enumerate(RULER.distinct(names, 1.0)):
        assert str(number) in short
        assert short.startswith("…")
        assert short.endswith("…")


def test_a_short_name_is_whole_and_a_long_one_keeps_both_ends() -> None:
    assert RULER.shorten("a_b$c$", 2.0) == "a_b$c$"
    short = RULER.shorten("beginning" + 100 * "x" + "end", 1.0)
    assert short.startswith("beg")
    assert short.endswith("end")
    assert short.count("…") == 1


def test_characters_that_no_font_has_are_escaped() -> None:
    assert RULER.plain("a模\n") == "a\\u6a21\\n"
    assert RULER.plain("Grüße, αβγ") == "Grüße, αβγ"


def test_words_are_wrapped() -> None:
    lines = RULER.wrap("one two three " * 10 + 100 * "x", 1.5)
    assert all(RULER.width(each) <= 1.5 for each in lines)
    assert " ".join(lines).startswith("one two three one")


@pytest.mark.parametrize(
    ("width", "inches"), [("3.25in", 3.25), ("8.5cm", 8.5 / 2.54), ("85 mm", 8.5 / 2.54), ("240pt", 240 / 72.27)]
)
def test_widths(width: str, inches: float) -> None:
    assert Look.of(width).width == pytest.approx(inches, abs=1e-4)


@pytest.mark.parametrize("width", ["3.25", "wide", "", "3.25 feet", "0in", "100m", "1000cm", "-3in", "nanin"])
def test_what_is_no_width(width: str) -> None:
    with pytest.raises(StarcliError, match=r"figure width .* expected"):
        Look.of(width)


def test_fonts() -> None:
    assert Look.of(font="9") == Look(size=9)
    assert Look.of(font="dejavu serif") == Look(family="DejaVu Serif")
    assert Look.of(font="STIXGeneral, 7.5pt") == Look(family="STIXGeneral", size=7.5)
    with pytest.raises(StarcliError, match="'Tines Old Roman' is not installed; there is"):
        Look.of(font="Tines Old Roman, 9")
    with pytest.raises(StarcliError, match=r"'DejaVu Srif' is not installed; there is .*DejaVu Serif"):
        Look.of(font="DejaVu Srif")
    with pytest.raises(StarcliError, match="size between"):
        Look.of(font="400")


def test_names_stand_in_lines_and_what_follows_them_is_whole() -> None:
    ruler = Ruler(Look())
    names, tails = ["one two three four five", "six"], [": 0.10 / 0.20", ": 0.30 / 0.40"]
    assert ruler.within(names, 9.0, tails) == [name + tail for name, tail in zip(names, tails, strict=True)]
    for inches in (0.8, 1.2, 1.6):
        for text, name, tail in zip(ruler.within(names, inches, tails), names, tails, strict=True):
            assert all(ruler.width(part) <= inches for part in text.split("\n"))
            assert text.replace("\n", " ") in (name + tail, f"{name} {tail.lstrip(': ')}")
    [one, other] = ruler.within(["a" * 60 + "1", "a" * 60 + "2"], 1.2, tails)
    assert one != other
    assert max(map(ruler.width, (one, other))) <= 1.2
