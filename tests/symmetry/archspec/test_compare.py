"""Two specs describe the same symmetries or do not, whatever their groups are called."""

import pytest
from hypothesis import given, settings
from support.specs import specs

from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.compare import same_symmetries
from starcli.symmetry.archspec.expression import Concat, Interleave, Node, Product, Ref, children
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.archspec.validate import make_resolved

SHAPES = {"a": (6, 2), "b": (6,), "c": (4, 12)}
BASE = "tensors: {a: [h], b: [h], c: [k, (h 2)]}"


def resolve(body: str, shapes: dict[str, tuple[int, ...]]) -> Resolved:
    return resolve_spec(parse("format: 1\n" + body), shapes)


def renamed(node: Node) -> Node:
    match node:
        case Ref(name):
            return Ref("z." + name)
        case Product():
            return Product(tuple(map(renamed, children(node))))
        case Concat():
            return Concat(tuple(map(renamed, children(node))))
        case Interleave():
            return Interleave(tuple(map(renamed, children(node))))
    return node


@settings(max_examples=60, deadline=None)
@given(specs())
def test_names_do_not_matter(spec: Resolved) -> None:
    other = make_resolved(
        {f"z.{n}": UnitGroup(f"z.{n}", g.size, g.within and f"z.{g.within}") for n, g in spec.groups.items()},
        {name: tuple(renamed(axis) for axis in axes) for name, axes in spec.axes.items()},
        spec.shapes,
        spec.buffers,
        spec.tied,
    )
    assert same_symmetries(spec, other) == []


@pytest.mark.parametrize(
    ("first", "second", "shapes"),
    [
        ("tensors: {a: [h + h]}", "tensors: {a: [(2 h)]}", {"a": (6,)}),
        ("tensors: {a: [h | h]}", "tensors: {a: [(h 2)]}", {"a": (6,)}),
        ("tensors: {a: [g]}", "tensors: {a: []}", {"a": (1,)}),
        (
            "groups: {h: {size: 1}, u: {within: h}}\ntensors: {a: [(h u)], b: [(h u)]}",
            "tensors: {a: [u], b: [u]}",
            {"a": (3,), "b": (3,)},
        ),
    ],
)
def test_different_words_for_the_same(first: str, second: str, shapes: dict[str, tuple[int, ...]]) -> None:
    assert same_symmetries(resolve(first, shapes), resolve(second, shapes)) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("tensors: {a: [h], b: [], c: [k, (h 2)]}", "does not move b axis 0"),
        ("tensors: {a: [h], b: [h], c: [k, (2 h)]}", "c axis 1"),
        ("tensors: {a: [h], b: [h], c: [_, (h 2)]}", "nothing moves c axis 0"),
        ("tensors: {a: [3 + x], b: [3 + x], c: [k, 6 + (x 2)]}", "nothing moves a axis 0"),
        ("tensors: {a: [y + x], b: [y + x], c: [k, (y 2) + (x 2)]}", "split into x, y"),
        ("groups: {y: {size: 2}, x: {within: y}}\ntensors: {a: [(y x)], b: [(y x)], c: [k, (y x 2)]}", ""),
    ],
)
def test_differences_are_named(other: str, words: str) -> None:
    other = other.replace("[3 + x]", "[3 + x]").replace("y + x", "y + x")
    groups = "groups: {y: {size: 2}}\n" if "y + x" in other else ""
    one, two = resolve(BASE, SHAPES), resolve(groups + other, SHAPES)
    found = same_symmetries(one, two)
    assert any(words in line for line in found), found
    assert same_symmetries(two, one)


def test_nesting_is_compared() -> None:
    shapes = {"a": (6,), "w": (6, 4), "h": (2,)}
    body = "tensors: {a: [(h u)], w: [(h u), v], h: [h]}"
    shared = resolve("groups: {h: {size: 2}, u: {within: h}, v: {}}\n" + body, shapes)
    nested = resolve("groups: {h: {size: 2}, u: {within: h}, v: {within: h}}\n" + body, shapes)
    flat = resolve("groups: {h: {size: 2}, u: {}, v: {}}\n" + body, shapes)
    for one, two in ((shared, nested), (shared, flat), (nested, flat)):
        assert same_symmetries(one, two)
        assert same_symmetries(two, one)


def test_other_tensors_are_told_first() -> None:
    one, two = resolve("tensors: {a: [h], b: []}", {"a": (3,), "b": (2,)}), resolve("tensors: {a: [h]}", {"a": (4,)})
    assert same_symmetries(one, two) == ["b: only in the first", "a: shape (3,) in the first, (4,) in the second"]


LIST = {"e.0.w": (3, 2), "e.1.w": (3, 2), "gate": (2, 2), "out": (4, 3)}


@pytest.mark.parametrize(
    ("first", "second", "differences"),
    [
        ("{'e.[].w': [_, h], gate: [], out: [_, h]}", "{'e.{l}.w': [h], gate: [], out: [_, h]}", ()),
        ("{'e.[].w': [e, h], gate: [e], out: [_, h]}", "{'e.[].w': [_, h], gate: [], out: [_, h]}", ("group e (2)",)),
        ("{'e.[].w': [e, h], gate: [e], out: [_, h]}", "{'e.{l}.w': [h], gate: [], out: [_, h]}", ("group e (2)",)),
        (
            "{'e.[].w': [e, h], gate: [e], out: []}",
            "{'e.{l}.w': ['h.{l}'], gate: [], out: []}",
            ("group e (2)", "h.0 does not move e.1.w axis 0", "group h.0 (3)", "group h.1 (3)"),
        ),
    ],
)
def test_stacks_beside_the_tensors_of_their_members(first: str, second: str, differences: tuple[str, ...]) -> None:
    one, two = (resolve(f"tensors: {each}", LIST) for each in (first, second))
    found = same_symmetries(one, two)
    assert len(found) == len(differences)
    assert all(words in "; ".join(found) for words in differences)


def test_units_of_experts_that_change_places_lie_within_them() -> None:
    body = "groups: {h: {within: e}}\ntensors: {'e.[].w': [e, h], gate: [e], out: []}"
    found = same_symmetries(resolve(body, LIST), resolve("tensors: {'e.{l}.w': ['h.{l}'], gate: [], out: []}", LIST))
    assert len(found) == 4
    assert "nothing moves e.[].w axis 0, gate axis 0" in found[0]
    assert all("lies within another group" in each for each in found[1:])
