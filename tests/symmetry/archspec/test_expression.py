"""Axis expressions and names with braces: read, written, expanded, matched, and refused with a caret."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.specs import SIZES, addresses, trees

from starcli.symmetry.archspec.blocks import terms
from starcli.symmetry.archspec.expression import (
    Cases,
    Concat,
    Fixed,
    Hole,
    Interleave,
    Node,
    Product,
    Ref,
    canonical,
    size_of_expression,
    symbols,
    text,
)
from starcli.symmetry.archspec.parse_expression import GrammarError, parse_axis
from starcli.symmetry.archspec.patterns import Pattern
from starcli.symmetry.archspec.templates import expand_templates, fill_template


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("_", Hole()),
        ("49", Fixed(49)),
        ("layer1.0.conv-a", Ref("layer1.0.conv-a")),
        ("a+b | c", Interleave((Concat((Ref("a"), Ref("b", 2))), Ref("c", 6)))),
        ("(a (b + 2))", Product((Ref("a", 1), Concat((Ref("b", 4), Fixed(2)))))),
        ("(a b + c)", Product((Ref("a", 1), Concat((Ref("b", 3), Ref("c", 7)))))),
        ("((a))", Ref("a", 2)),
        ("h.{l-1} + h.{l+1}", Concat((Ref("h.{l-1}"), Ref("h.{l+1}", 10)))),
        ("a ; b + 2", Cases((Ref("a"), Concat((Ref("b", 4), Fixed(2)))))),
    ],
)
def test_expressions_are_read(written: str, tree: Node) -> None:
    assert parse_axis(written) == tree


@settings(max_examples=200, deadline=None)
@given(trees())
def test_canonical_expressions_read_back_as_themselves(tree: Node) -> None:
    once = canonical(tree, SIZES)
    written = text(once)
    again = canonical(parse_axis(written), SIZES)
    assert again == once
    assert text(again) == written
    assert size_of_expression(once, SIZES) == size_of_expression(tree, SIZES)


@settings(max_examples=200, deadline=None)
@given(trees())
def test_terms_cover_every_position_once_and_where_the_grammar_says(tree: Node) -> None:
    expected = addresses(tree, SIZES)
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    for term in terms(tree, SIZES):
        positions = [(term.start, ())]
        for factor in term.factors:
            positions = [
                (at + factor.step * i, (*names, *([(factor.group, i)] if factor.group else [])))
                for at, names in positions
                for i in range(factor.size)
            ]
        assert not found.keys() & {at for at, _ in positions}
        found.update(positions)
    assert [found[i] for i in range(len(expected))] == [
        tuple(factor for factor in factors if factor[0]) for _, factors in expected
    ]


@pytest.mark.parametrize(
    ("written", "at", "message"),
    [
        ("(a b", 0, "never closed"),
        ("a)", 1, "nothing opened"),
        ("a + ", 4, "missing"),
        ("a + | b", 4, "unexpected '|'"),
        ("a b", 2, "stands in"),
        ("(a ; b)", 3, "unexpected ';'"),
        ("a ;", 3, "missing"),
        ("a ()", 2, "stands in"),
        ("()", 0, "empty product"),
        ("a * b", 2, "'*' has no meaning"),
        ("a + g.{l", 6, "never closed"),
        ("0", 0, "positive integer"),
        ("1234567890123", 0, "positive integer"),
        ("(" * 100 + "a" + ")" * 100, 32, "deeper than"),
        ("a" * 30_000, 0, "at most"),
    ],
)
def test_mistakes_have_a_place(written: str, at: int, message: str) -> None:
    with pytest.raises(GrammarError) as error:
        parse_axis(written)
    assert message in error.value.message
    assert error.value.at == at
    place, shown, caret = error.value.lines("x.yaml:3")
    assert place.startswith("x.yaml:3: ")
    assert caret.endswith("^")
    if at < len(written):
        assert shown[caret.index("^")] == written[at]


@given(st.text(alphabet="(ab1_{l:-}+|; )", max_size=40))
def test_any_text_is_read_or_refused(written: str) -> None:
    place = 0
    try:
        parse_axis(text(parse_axis(written)))
    except GrammarError as error:
        place = error.at
    assert 0 <= place <= len(written)


@pytest.mark.parametrize(
    ("written", "shortest"),
    [("a ; b ; b", "a ; b ; b"), ("a ; a ; b ; b", "a ; b"), ("a ; a", "a"), ("a + 1 + 2 ; a + 3", "a + 3")],
)
def test_cases_are_as_few_as_say_the_same(written: str, shortest: str) -> None:
    assert text(canonical(parse_axis(written), SIZES)) == shortest


def expanded(written: str, **bindings: int | str) -> str:
    return text(expand_templates(parse_axis(written), written, bindings, "_ "))


def test_templates_and_ranges() -> None:
    assert expanded("h.{l-1} + h.{l+1}", l=3) == "h.2 + h.4"
    assert expanded("h.{depth-l-1}", l=3, depth=6) == "h.2"
    assert symbols(expand_templates(parse_axis("stem + g.{0:l}"), "stem + g.{0:l}", {"l": 3}, "")) == [
        "stem",
        "g.0",
        "g.1",
        "g.2",
    ]
    assert symbols(expand_templates(parse_axis("g.{l:0}"), "g.{l:0}", {"l": 3}, "")) == ["g.2", "g.1", "g.0"]
    assert symbols(expand_templates(parse_axis("stem + g.{0:l}"), "stem + g.{0:l}", {"l": 0}, "")) == ["stem"]
    assert symbols(expand_templates(parse_axis("g.{1:l+1}.x"), "g.{1:l+1}.x", {"l": 2}, "")) == ["g.1.x", "g.2.x"]
    assert expanded("({heads} qk)", heads=4) == "(4 qk)"
    assert expanded("h.{name}", name="left") == "h.left"
    assert fill_template("head.{l}", {"l": 3}) == "head.3"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("h.{l-4}", "below 0"),
        ("h.{m}", "'m' is not known"),
        ("h.{word-1}", "stands in braces"),
        ("h.{l*2}", "stands in braces"),
        ("h.{0:l}.{0:l}", "one range"),
        ("h.{0:999999}", "at most"),
        ("h.{word:3}", "integer to integer"),
        ("{l-3}", "positive integer"),
        ("h.{odd}", "cannot name a group"),
        ("h{}", "stands in braces"),
    ],
)
def test_templates_that_make_no_name(written: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        expanded(written, l=3, word="left", odd="a b")


@pytest.mark.parametrize(
    ("pattern", "name", "bindings"),
    [
        ("layer1.{b}.conv1.weight", "layer1.12.conv1.weight", {"b": 12}),
        ("layer1.{b}.conv1.weight", "layer1.x.conv1.weight", None),
        ("layer1.{b}.conv1.weight", "layer1.012.conv1.weight", None),
        ("layer{s}.{b}.bn1.*", "layer2.0.bn1.running_mean", {"s": 2, "b": 0}),
        ("layer{s}.{b}.bn1.*", "layer2.0.bn1.x.y", None),
        ("{side:name}.weight", "left-1.weight", {"side": "left-1"}),
        ("{side:name}.weight", "a.b.weight", None),
        ("block{i}_conv{j}", "block1_conv22", {"i": 1, "j": 22}),
        ("*_{i}", "up_down_7", {"i": 7}),
        ("pre*post", "prepost", None),
        ("pre*post", "pre1post", {}),
        ("{l}.{l}", "3.3", {"l": 3}),
        ("{l}.{l}", "3.4", None),
        ("a.{depth-1}.w", "a.4.w", {}),
        ("a.{depth-1}.w", "a.3.w", None),
    ],
)
def test_patterns_match(pattern: str, name: str, bindings: dict[str, int | str] | None) -> None:
    assert Pattern(pattern, {"depth": 5}).match(name) == bindings


@pytest.mark.parametrize("pattern", ["a.{l", "a.l}", "**", "{a}{b}", "*x*", "{a:name}*", "{a:word}", "{l-1}", "{}"])
def test_patterns_that_say_nothing_clear(pattern: str) -> None:
    with pytest.raises(GrammarError):
        Pattern(pattern)


def test_matching_time_is_linear() -> None:
    pattern = Pattern(".".join(["*a{i}b"] * 200))
    names = [".".join(["a1b" * n] * 200) for n in (50, 500)]
    times = []
    for name in names:
        start = time.process_time()
        for _ in range(5):
            pattern.match(name)
        times.append(time.process_time() - start)
    assert times[1] < 2
