"""Files and records that come from anywhere: read as plain YAML or refused, quickly and by name."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from starcli.errors import StarcliError
from starcli.files.yaml_values import read_yaml
from starcli.symmetry.archspec.library import load_spec
from starcli.symmetry.archspec.render import render
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.archspec.validate import resolved_from_json


def refused(text: str) -> str:
    with pytest.raises(StarcliError) as error:
        parse(text, "x.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing is in it"),
        ("a: &x [1]\nb: *x", "x.yaml:1: anchors are not allowed"),
        ("tensors:\n  *.weight: [g]", "`*`"),
        ("a: !!python/object/apply:os.system ['true']", "tags are not allowed"),
        ("a: !x 1", "tags are not allowed"),
        ("format: 1\ntensors:\n  a: [b]\n  a: [c]", "x.yaml:4: the key 'a' stands twice, first in line 3"),
        ("format: 1\n---\nformat: 1", "a second document"),
        ("a: " + "[" * 50 + "]" * 50, "nested deeper"),
        ("a: " + "[" * 100_000, "nested deeper"),
        ("? [a]\n: b", "a key is a name"),
        ("a: [b", "x.yaml:"),
        ("a: \x00", "does not allow"),
        ("a: \ue000", "private-use"),
        ("a" * (5 * 2**20), "characters"),
        ("[]", "a map"),
        ("format: 3\ntensors: {}", "reads `format: 1` and 2"),
        (
            "format: 1\ntensors: {a: [g]}\ngroups: {g: {kind: scaled}}",
            "x.yaml:3: group g: unknown key 'kind'; that needs",
        ),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: scale}}", "unknown kind 'scale'; did you mean scaled?"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: [scaled]}}", "unknown kind"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: scaled, fixes: ones}}", "only what is `kind: orthogonal`"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: orthogonal, fixes: zeros}}", "`fixes: ones` is the only"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: complex}}", "x.yaml:3: group g: what is `kind: complex`"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: complex, pairs: two}}", "`pairs: halves` or `pairs: neigh"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {kind: scaled, pairs: halves}}", "only what is `kind: complex`"),
        ("format: 2\ntensors: {a: [g]}\ngroups: {g: {sise: 3}}", "there is size, within, kind, fixes"),
        ("format: 1\ntensors: {a: [g, h^2]}", "x.yaml:2: exponents need `format: 2`\n      h^2\n       ^"),
        ("format: 2\ntensors:\n  a: [g, h^]", "x.yaml:3: an exponent is an integer, as in h^2, h^-1 or (2 h^1:0)"),
        ("format: 2\ntensors:\n  a: [g, h^2.5]", "x.yaml:3: '.5' after the end"),
        ("format: 2\ntensors:\n  a: [g h']", "x.yaml:3: 'h' after the end"),
        ("format: 2\ntensors:\n  a: [(g h)^2]", "x.yaml:3: a prime or an exponent stands directly behind the name"),
        ("format: 2\ntensors:\n  a: [(2' g)]", "x.yaml:3: a prime or an exponent stands directly behind the name"),
        ("format: 2\ntensors:\n  a: [g '']", "x.yaml:3: a prime or an exponent stands directly behind the name"),
        ("format: 1\ntensors: {a: [g]}\nfold: [[a, b]]", "x.yaml:3: the section 'fold' needs `format: 2`"),
        ("format: 2\ntensors: {a: [g]}\nfold: [[a]]", "x.yaml:3: fold: a way names at least two tensors"),
        ("format: 2\ntensors: {a: [g]}\nfold: [a, b]", "x.yaml:3: fold, a way: a list"),
        ("format: 2\ntensors: {a: [g]}\nfold:\n  - [a, b/x]", "x.yaml:4: behind a name stands /axis"),
        ("format: 2\ntensors: {a: [g]}\nfold:\n  - [a, b^1:2]", "x.yaml:4: behind a name stands /axis"),
        ("format: 2\ntensors: {a: [g]}\ngroups:\n  g: {signs: [[a, /0]]}", "x.yaml:4: the name of a tensor"),
        ("tensors: {}", "'format' is missing"),
        ("format: 1", "'tensors' is missing"),
        ("format: 1\ntensor: {a: [b]}", "unknown section 'tensor'; did you mean tensors?"),
        ("format: 1\ntensors: [a]", "a map"),
        ("format: 1\ntensors:\n  a: b", "x.yaml:3: a: a list"),
        ("format: 1\ntensors:\n  a: [[b]]", "x.yaml:3: an expression stands here"),
        ("format: 1\ntensors: {a: [g]}\ngroups: {g: {sise: 3}}", "unknown key 'sise'"),
        ("format: 1\ntensors: {a: [g]}\ntied: [[a]]", "at least two"),
        ("format: 1\ntensors: {a: [g]}\nbuffers: [[a]]", "a name stands here"),
    ],
)
def test_what_is_no_spec_is_refused(text: str, words: str) -> None:
    start = time.process_time()
    assert words in refused(text)
    assert time.process_time() - start < 2


def test_all_mistakes_come_with_line_expression_and_caret() -> None:
    text = "format: 1\ntensors:\n  a: [(b c]\n  b: [x, y)]\n  c:\n    - g.{l\n    - good\n  d: ['g.{l*2}']\n"
    text = text.replace("(b c]", "'(b c']").replace("y)]", "'y)']").replace("g.{l\n", "'g.{l'\n")
    lines = refused(text).splitlines()
    assert lines[0] == "x.yaml cannot be read"
    assert lines[1:4] == ["  x.yaml:3: this '(' is never closed", "      (b c", "      ^"]
    assert lines[4:7] == ["  x.yaml:4: nothing opened this ')'", "      y)", "       ^"]
    assert lines[7].startswith("  x.yaml:6: this '{' is never closed")
    assert lines[10].startswith("  x.yaml:8: ")
    assert lines[12].index("^") == lines[11].index("{")


def test_braces_need_no_quotes() -> None:
    text = """
format: 1
groups:
  unit.{l}: {within: head.{l}}
  head.{l}: {size: 2}
tensors:
  {l}.qkv: [(head.{l} (unit.{l} + unit.{l})), s.{0:l} | s.{l:0}]
  s.0: [s.0]
"""
    spec = parse(text)
    assert spec.tensors[0].pattern == "{l}.qkv"
    assert spec.tensors[0].axes[1].text == "s.{0:l} | s.{l:0}"
    assert resolve_spec(spec, {"2.qkv": (12, 8), "s.0": (1,)}).expressions["2.qkv"][1] == "s.0 + s.1 | s.1 + s.0"


def test_rendered_specs_are_plain_yaml_for_others_too() -> None:
    spec = parse("format: 1\ntensors: {'a b': [g], 'yes': [g], '1': ['g | g'], 'x: y': [g]}")
    rendered = render(resolve_spec(spec, {"a b": (2,), "yes": (2,), "1": (4,), "x: y": (2,)}))
    assert yaml.safe_load(rendered)["tensors"] == {"1": ["g | g"], "a b": ["g"], "x: y": ["g"], "yes": ["g"]}


@settings(max_examples=200)
@given(st.text(alphabet="ab1:{}[],-\n '\"*&!|>+()_%", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(StarcliError):
        read_yaml(text, "x")
    with contextlib.suppress(StarcliError):
        parse(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "good.yaml").write_text("format: 1\ntensors: {a: [g]}\n")
    with pytest.raises(StarcliError, match="text in UTF-16"):
        load_spec(tmp_path / "binary.yaml")
    with pytest.raises(StarcliError, match="No such file"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(StarcliError, match="directory"):
        load_spec(tmp_path)
    assert load_spec(str(tmp_path / "good.yaml")).tensors[0].pattern == "a"


GOOD: dict[str, Any] = {
    "format": 1,
    "groups": {"g": {"size": 2}, "u": {"size": 3, "within": "g"}},
    "tensors": {"a": ["(g u)", "2"], "b": ["g"]},
    "shapes": {"a": [6, 2], "b": [2]},
    "buffers": ["b"],
    "tied": [],
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"groups": {"g": {"size": 2}}},
        {"groups": {"g": {"size": 2}, "u": {"size": 4, "within": "g"}}},
        {"groups": {"g": {"size": -2}, "u": {"size": 3, "within": "g"}}},
        {"groups": {"g": {"size": 2, "within": "u"}, "u": {"size": 3, "within": "g"}}},
        {"groups": {"g": {"size": 2}, "u": {"size": 3, "within": "x"}}},
        {"groups": {"g": {"size": 2}, "u": {"size": 3, "within": "g"}, "more": {"size": 1}}},
        {"tensors": {"a": ["(g u)", "_"], "b": ["g"]}},
        {"tensors": {"a": ["(g u)", "3"], "b": ["g"]}},
        {"tensors": {"a": ["(g u", "2"], "b": ["g"]}},
        {"tensors": {"a": ["(g h.{l})", "2"], "b": ["g"]}},
        {"tensors": {"a": ["(g u)", "2"]}},
        {"tensors": {"a": ["(g u)"], "b": ["g"]}},
        {"shapes": {"a": [6, 2]}},
        {"shapes": {"a": [6, -2], "b": [2]}},
        {"shapes": {"a": [6, 2**50], "b": [2]}, "tensors": {"a": ["(g u)", str(2**50)], "b": ["g"]}},
        {"shapes": {"a": ["6", 2], "b": [2]}},
        {"buffers": ["c"]},
        {"tied": [["a", "b"]]},
        {"tied": [["a"]]},
        {"tied": [["a", "a"]]},
        {"more": 1},
    ],
)
def test_records_that_contradict_themselves(change: dict[str, Any]) -> None:
    assert resolved_from_json(GOOD).groups["u"].within == "g"
    with pytest.raises(StarcliError):
        resolved_from_json({**GOOD, **change})


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"format": 1}])
def test_records_of_another_kind(value: object) -> None:
    with pytest.raises(StarcliError, match="no resolved spec"):
        resolved_from_json(value)


def test_records_that_would_take_forever() -> None:
    n = 3000
    wide = " + ".join(f"g{i}" for i in range(n))
    record = {
        "format": 1,
        "groups": {f"g{i}": {"size": 1} for i in range(n)},
        "tensors": {"a": [wide, wide, wide]},
        "shapes": {"a": [n, n, n]},
        "buffers": [],
        "tied": [],
    }
    start = time.process_time()
    with pytest.raises(StarcliError):
        resolved_from_json(record)
    deep = {**GOOD, "groups": {f"g{i}": {"size": 2, "within": f"g{i + 1}"} for i in range(5000)}}
    with pytest.raises(StarcliError):
        resolved_from_json(deep)
    assert time.process_time() - start < 2
