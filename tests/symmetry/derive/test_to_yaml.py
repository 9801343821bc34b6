"""Derived specs as YAML that reads back as the same, in few lines; and against specs written by hand."""

import pytest
import torch
from support.networks import attention, convolutional
from support.shipped import ALIKE, CASES, resolve, shrunk

from starcli.models.build import build_network
from starcli.symmetry.archspec.compare import same_symmetries
from starcli.symmetry.archspec.lines import claimed_kinds
from starcli.symmetry.archspec.render import KindLines, render
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.derive.derive import derive
from starcli.symmetry.derive.to_yaml import fold_families, to_yaml

torch.set_num_threads(1)


def test_blocks_that_repeat_become_patterns():
    lines = {f"layer.{i}.w": (f"inner.{i}", "stream") for i in range(12)}
    assert fold_families(lines) == {"layer.{l}.w": ("inner.{l}", "stream")}


def test_an_exception_keeps_a_literal_line():
    lines = {f"layer.{i}.w": ("stem" if i == 0 else f"h.{i - 1}",) for i in range(4)}
    assert fold_families(lines) == {"layer.0.w": ("stem",), "layer.{l}.w": ("h.{l-1}",)}


def test_a_concatenation_that_grows_becomes_a_range():
    lines = {f"dense.{i}.w": (" + ".join(["stem", *(f"new.{k}" for k in range(i))]),) for i in range(3, 9)}
    assert fold_families(lines) == {"dense.{l}.w": ("stem + new.{0:l}",)}


def test_what_follows_no_rule_stays_literal():
    lines = {"a.0.w": ("x",), "a.1.w": ("y", "z"), "a.2.w": ()}
    assert fold_families(lines) == lines


@pytest.mark.parametrize(
    "make", [attention.Llama, convolutional.UNet, convolutional.Shuffled, convolutional.GroupNormed]
)
def test_yaml_reads_back_as_the_same(make):
    example = (torch.randint(0, 11, (2, 5)),) if make is attention.Llama else (torch.rand(2, 2, 6, 6),)
    example = (torch.rand(2, 4, 3, 3),) if make is convolutional.Shuffled else example
    resolved = derive(make(), example).resolved
    assert resolve_spec(parse(to_yaml(resolved)), resolved.shapes, buffers=resolved.buffers) == resolved


@pytest.mark.parametrize("label", [label for label in CASES if label not in ALIKE])
def test_hand_written_and_derived_specs_describe_the_same_symmetries(label):
    case = CASES[label]
    arguments = case.complete()
    network = build_network(case.name, **arguments)
    network = shrunk(network, case.shrink) if case.shrink > 1 else network
    derived = derive(network, (case.inputs(2),)).resolved
    assert same_symmetries(resolve(case.name, arguments, network), derived) == []
    assert resolve_spec(parse(to_yaml(derived)), derived.shapes, buffers=derived.buffers) == derived


def test_kinds_are_written_and_read_back_and_without_them_nothing_changes():
    shapes = {"w.0": (6, 9), "w.1": (6, 6), "w.2": (6, 6), "w.3": (3, 6)}
    spec = "{format: 1, tensors: {w.0: [h.0, _], w.1: [h.1, h.0], w.2: [h.2, h.1], w.3: [_, h.2]}}"
    resolved = resolve_spec(parse(spec), shapes)
    kinds = {"h.0": {"kind": "scaled"}, "h.1": {"kind": "scaled"}, "h.2": {"kind": "orthogonal", "fixes": "ones"}}
    for some in (kinds, {"h.1": {"kind": "signed"}}):
        written = to_yaml(resolved, KindLines(some))
        assert written.startswith("format: 2\n")
        again = parse(written)
        assert resolve_spec(again, shapes) == resolved
        said = claimed_kinds(again, resolved.groups)
        assert {name: line.kind for name, line in said.items()} == {name: each["kind"] for name, each in some.items()}
        assert {name for name, line in said.items() if line.fixes_ones} == {n for n, e in some.items() if "fixes" in e}
        assert claimed_kinds(parse(render(resolved, KindLines(some))), resolved.groups).keys() == some.keys()
    assert to_yaml(resolved).startswith("format: 1\n")
