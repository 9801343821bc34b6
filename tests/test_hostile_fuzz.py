"""Mutated and random inputs against every reader; `python -m tests.reliability fuzz` does 100,000 of each."""

import contextlib
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reliability import fuzz

from starcli import archspec, checkpoint
from starcli.archspec import Resolved
from starcli.errors import StarcliError

TARGETS = list(fuzz.targets())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
axes = st.text("ab.{}l:019()+|_ -*", max_size=30)


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_mutated_files_read_or_are_refused(target: fuzz.Target, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fuzz.run(target, 300, tmp_path, seed=1) == []


@given(st.dictionaries(st.sampled_from(("format", "groups", "tensors", "shapes", "buffers", "tied")), json_values))
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_spec_or_is_refused(value: object) -> None:
    with contextlib.suppress(StarcliError):
        Resolved.from_json(value)


@given(st.dictionaries(st.sampled_from(sorted(checkpoint.Metadata.model_fields)), json_values))
@settings(max_examples=150, deadline=None)
def test_any_json_is_metadata_or_is_refused(value: object) -> None:
    import json

    with contextlib.suppress(StarcliError):
        checkpoint.parse_metadata(json.dumps(value), "x")


@given(st.lists(st.tuples(axes, st.lists(axes, max_size=3)), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_archspec_resolves_or_is_refused(lines: list[tuple[str, list[str]]]) -> None:
    import json

    text = "format: 1\ntensors:\n" + "".join(f"  {json.dumps(name)}: {json.dumps(found)}\n" for name, found in lines)
    with contextlib.suppress(StarcliError):
        archspec.parse(text, "x").resolve({"a.1": (4, 9), "b": (2,)}, {"l": 2})
