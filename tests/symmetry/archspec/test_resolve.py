"""Specs against the tensors of a network: names, sizes, nesting, buffers, ties, and everything wrong told at once."""

import math

import pytest
import torch
from hypothesis import given, settings
from support.specs import specs

from starcli.errors import StarcliError
from starcli.symmetry.archspec.library import load_spec, shipped_specs
from starcli.symmetry.archspec.lines import claimed_kinds
from starcli.symmetry.archspec.render import render
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse, permutations_of
from starcli.symmetry.archspec.validate import resolved_from_json


def resolve(body: str, shapes: dict[str, tuple[int, ...]], **variables: int) -> Resolved:
    return resolve_spec(parse("format: 1\n" + body, "test.yaml"), shapes, variables)


def problems(body: str, shapes: dict[str, tuple[int, ...]], **variables: int) -> list[str]:
    with pytest.raises(StarcliError) as error:
        resolve(body, shapes, **variables)
    return list(error.value.problems)


DENSE = """
tensors:
  stem: [stem]
  layer.{l}.norm: ["stem + g.{0:l}"]
  layer.{l}.conv: ["g.{l}", "stem + g.{0:l}"]
  reverse.{l}: ["g.{l:0}"]
  head: [_, "stem + g.{0:depth}"]
"""


def test_densenet_concatenation() -> None:
    shapes = {"stem": (4,), "head": (10, 10), "reverse.3": (6,)}
    for layer in range(3):
        shapes |= {f"layer.{layer}.norm": (4 + 2 * layer,), f"layer.{layer}.conv": (2, 4 + 2 * layer, 3, 3)}
    spec = resolve(DENSE, shapes, depth=3)
    assert spec.expressions["layer.2.conv"] == ("g.2", "stem + g.0 + g.1", "3", "3")
    assert spec.expressions["reverse.3"] == ("g.2 + g.1 + g.0",)
    assert spec.expressions["head"] == ("10", "stem + g.0 + g.1 + g.2")
    assert spec.sizes == {"stem": 4, "g.0": 2, "g.1": 2, "g.2": 2}
    assert spec.log10_symmetries() == pytest.approx(math.log10(24 * 2 * 2 * 2))
    assert spec.movable() == 1.0


@pytest.mark.parametrize(
    ("axis", "length", "solved"),
    [
        ("(h 49)", 98, {"h": 2}),
        ("h + h + 3", 13, {"h": 5}),
        ("h | h", 8, {"h": 4}),
        ("(3 (h + h + 2))", 30, {"h": 4}),
        ("a | b", 8, {"a": 4, "b": 4}),
        ("a | b", 9, {"a": 5, "b": 4}),
        ("(2 (a | b)) + 4", 20, {"a": 4, "b": 4}),
        ("(h _)", 12, {"h": 3}),
    ],
)
def test_sizes_are_solved(axis: str, length: int, solved: dict[str, int]) -> None:
    groups = 'groups: {h: {size: "{n}"}}\n' if "_" in axis else ""
    assert resolve(f'{groups}tensors: {{x: ["{axis}"]}}', {"x": (length,)}, n=3).sizes == solved


def test_sizes_travel_through_tensors_in_any_order() -> None:
    body = "tensors: {a: [(b c)], b: [(c d)], c: [(d 2)], d: [d]}"
    shapes = {"a": (5 * 3,), "b": (3 * 7,), "c": (14,), "d": (7,)}
    assert resolve(body, shapes).sizes == {"b": 5, "c": 3, "d": 7}
    assert resolve(body, dict(reversed(shapes.items()))) == resolve(body, shapes)


def test_literal_beats_pattern_and_zero_dimensional_needs_no_line() -> None:
    spec = resolve("tensors: {'a.*': [g], a.b: []}", {"a.b": (3,), "a.c": (2,), "a.n": (), "z": ()})
    assert spec.expressions == {"a.b": ("3",), "a.c": ("g",), "a.n": (), "z": ()}


def test_every_mismatch_is_told_at_once() -> None:
    body = """
groups:
  nobody: {size: 3}
tensors:
  a.weight: [h, _]
  b.weight: [_, h]
  c.{x:name}: [h]
  c.*: [h]
  missing: [h]
  d: [h, h, h]
  e: [g.{l}]
  f: [(h q)]
"""
    shapes = {"a.weight": (4, 3), "b.weight": (2, 5), "c.d": (4,), "d": (4, 4), "e": (1,), "f": (6,), "extra": (1,)}
    found = "\n".join(problems(body, shapes))
    for words in (
        "c.d: test.yaml: line 8 (c.{x:name}) and line 9 (c.*) both name it",
        "extra: no line of test.yaml names it",
        "test.yaml:10: there is no tensor missing",
        "test.yaml:11: 3 axes, d has 2",
        "test.yaml:12: for e: the variable 'l' is not known",
        "test.yaml:4: no axis bears the group nobody",
        "b.weight axis 1, `h`: the tensor has 5, the expression 4 (h = 4 from a.weight axis 0",
        "f axis 0, `(h q)`: 6 positions, which no size of q gives",
    ):
        assert words in found, found


def test_what_cannot_be_solved_is_said() -> None:
    found = problems("tensors: {a: [(head unit)], b: [_ + _]}", {"a": (768,), "b": (5,)})
    assert any("the size of group head cannot be solved: a axis 0, `(head unit)` = 768" in line for line in found)
    assert any("the size of `_` cannot be solved: b axis 0" in line for line in found)
    assert problems("tensors: {a: [g | h]}", {"a": (1,)})
    found = problems("tensors: {a: [g | (h 2)], g: [g], h: [h]}", {"g": (2,), "h": (3,), "a": (8,)})
    assert any("lengths 2, 6 cannot be interleaved" in line for line in found)


def test_cases_are_solved_one_by_one() -> None:
    spec = resolve("tensors: {w: [q + k, 'a ; b + 2'], b: [b], v: [(2 q)]}", {"w": (6, 5), "b": (3,), "v": (6,)})
    assert spec.sizes == {"a": 5, "b": 3, "q": 3, "k": 3}


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ("[a, 'a ; b']", "a lies in two cases of another axis"),
        ("[_, 'a ; b ; b ; a ; b']", "the cases of an axis are not those of a first axis of 6 positions"),
        ("['a ; b', _]", "the cases of an axis are not those"),
        ("[_, 'a + 1 ; b']", "cases of lengths 7, 6 on one axis"),
    ],
)
def test_cases_are_those_of_equal_parts_of_the_first_axis(axes: str, words: str) -> None:
    sizes = "groups: {a: {size: 6}, b: {size: 6}}"
    found = problems(f"{sizes}\ntensors: {{w: {axes}, v: [a, b]}}", {"w": (6, 6), "v": (6, 6)})
    assert any(words in line or "the tensor has 6, the expression 7" in line for line in found), found


@pytest.mark.parametrize(
    ("body", "shapes", "words"),
    [
        ("groups: {u: {within: h}}\ntensors: {a: [u], h: [h]}", {"a": (3,), "h": (2,)}, "h, which stands nowhere"),
        ("groups: {u: {within: h}}\ntensors: {a: [u]}", {"a": (3,)}, "within h, which no axis bears"),
        ("groups: {u: {within: h}}\ntensors: {a: [h, h, u]}", {"a": (2, 2, 3)}, "stands 2 times on the other axes"),
        ("groups: {u: {within: h}}\ntensors: {a: [(h h u)], h: [h]}", {"a": (12,), "h": (2,)}, "2 times on axis 0"),
        ("groups: {u: {within: h}, h: {within: u}}\ntensors: {a: [(h u)], h: [h]}", {"a": (6,), "h": (2,)}, "itself"),
    ],
)
def test_a_parent_stands_exactly_once(body: str, shapes: dict[str, tuple[int, ...]], words: str) -> None:
    assert any(words in line for line in problems(body, shapes))


def test_an_axis_of_length_0_is_an_error() -> None:
    found = problems("tensors: {a: [g], 'b.{l}': ['g.{0:l}'], c: [g.0]}", {"a": (3, 0), "b.0": (0,), "c": (2,)})
    assert found == ["a: shape (3, 0) has an axis of length 0", "b.0: shape (0,) has an axis of length 0"]


def test_grouped_query_attention_and_resnext() -> None:
    body = """
groups: {kv: {size: 2}, rep: {within: kv}, qk: {within: kv}, vo: {within: kv}}
tensors: {q: [(kv rep qk)], k: [(kv qk)], v: [(kv vo)], o: [_, (kv rep vo)]}
"""
    spec = resolve(body, {"q": (24, 5), "k": (8, 5), "v": (6, 5), "o": (5, 18)})
    assert spec.sizes == {"kv": 2, "qk": 4, "rep": 3, "vo": 3}
    assert spec.index_shape("qk") == (2, 4)
    (block,) = spec.blocks["o"]
    assert (block.shape, block.groups, block.parents) == ((5, 2, 3, 3), (None, "kv", "rep", "vo"), ((), (), (1,), (1,)))
    body = "groups: {g: {size: 4}, out: {within: g}, in: {within: g}}\ntensors: {w: [(g out), in]}"
    spec = resolve(body, {"w": (20, 3, 3, 3)})
    assert spec.dependent == {"w"}
    assert spec.blocks["w"][0].parents == ((), (0,), (0,), (), ())


def test_buffers_and_ties() -> None:
    body = "tensors: {'*.running_mean': [g], a.weight: [g], b.weight: [g], m: [g]}\ntied: [[b.weight, a.weight]]"
    shapes = {"x.running_mean": (3,), "a.weight": (3,), "b.weight": (3,), "m": (3,)}
    spec = resolve_spec(parse("format: 1\n" + body), shapes, buffers=["m"])
    assert spec.buffers == {"x.running_mean", "m"}
    assert spec.learnable() == ("a.weight",)
    own = resolve_spec(parse("format: 1\nbuffers: ['*.weight', 'x*mean']\n" + body), shapes)
    assert own.buffers == {"a.weight", "b.weight", "x.running_mean"}
    assert any("no tensor c" in line for line in problems("tensors: {a: [g]}\ntied: [[a, c]]", {"a": (3,)}))
    assert any(
        "against" in line for line in problems("tensors: {a: [g], b: []}\ntied: [[a, b]]", {"a": (3,), "b": (3,)})
    )


@settings(max_examples=60, deadline=None)
@given(specs())
def test_rendered_and_recorded_specs_come_back(spec: Resolved) -> None:
    assert resolved_from_json(spec.to_json()) == spec
    again = resolve_spec(parse(render(spec)), spec.shapes, buffers=spec.buffers)
    assert again.to_json() == spec.to_json()


@settings(max_examples=60, deadline=None)
@given(specs())
def test_blocks_partition_their_tensors(spec: Resolved) -> None:
    for name, blocks in spec.blocks.items():
        counted = torch.zeros(spec.shapes[name])
        for block in blocks:
            assert block.view(counted).shape == block.shape
            block.view(counted).add_(1)
        assert bool((counted == 1).all())


def test_movable_counts_elements() -> None:
    spec = resolve(
        "tensors: {a: [g + 6], b: [], x.running_mean: [g]}", {"a": (10,), "b": (10,), "x.running_mean": (4,)}
    )
    assert spec.movable() == pytest.approx(4 / 20)


def test_the_hash_ignores_order_and_words() -> None:
    a = resolve("tensors: {a: [g, (3)], b: ['g']}", {"a": (2, 3), "b": (2,)})
    b = resolve("tensors: {b: [g], '{x:name}': [(1 g), _]}".replace("b: [g], ", "b: [g],\n"), {"b": (2,), "a": (2, 3)})
    assert a == b
    assert a.sha256 == b.sha256
    assert a != resolve("tensors: {a: [h], b: [h]}", {"a": (2, 3), "b": (2,)})


def test_check_names_all_differences() -> None:
    spec = resolve("tensors: {a: [g], b: []}", {"a": (2,), "b": (3,)})
    spec.check({"a": torch.zeros(2), "b": torch.zeros(3)})
    with pytest.raises(StarcliError) as error:
        spec.check({"a": torch.zeros(4), "c": torch.zeros(1)})
    assert len(error.value.problems) == 3


def test_shipped_specs_are_found_and_read() -> None:
    assert {"mlp", "resnet", "vit"} <= set(shipped_specs())
    for name in shipped_specs():
        assert load_spec(name).tensors
    with pytest.raises(StarcliError, match="unknown spec 'resnt'; did you mean resnet"):
        load_spec("resnt")


def test_units_of_complex_groups_are_fixed_but_in_the_whole() -> None:
    groups = "{head: {size: 2}, r: {within: head, size: 4, kind: complex, pairs: halves}}"
    spec = parse(f"{{format: 2, groups: {groups}, tensors: {{q: ['(head (r + 3))', _]}}}}")
    assert resolve_spec(spec, {"q": (14, 5)}).expressions == {"q": ("(head 7)", "5")}
    assert resolve_spec(permutations_of(spec), {"q": (14, 5)}).sizes == {"head": 2}
    assert resolve_spec(spec, {"q": (14, 5)}, whole=True).expressions == {"q": ("(head (r + 3))", "5")}


def test_kinds_are_said_beside_what_is_permuted_and_change_nothing_of_it() -> None:
    text = "format: {}\ngroups:\n  'h.{{l}}': {{size: 3{}}}\ntensors:\n  '{{l}}.w': ['h.{{l}}', stream]\n"
    shapes = {"0.w": (3, 4), "1.w": (3, 4)}
    plain, kinds = parse(text.format(1, "")), parse(text.format(2, ", kind: orthogonal, fixes: ones"))
    first, second = resolve_spec(plain, shapes), resolve_spec(kinds, shapes)
    assert first == second
    assert first.to_json() == second.to_json()
    assert claimed_kinds(plain, first.groups) == {}
    found = claimed_kinds(kinds, second.groups)
    assert {name: (line.kind, line.fixes_ones) for name, line in found.items()} == {
        "h.0": ("orthogonal", True), "h.1": ("orthogonal", True),
    }  # fmt: skip
