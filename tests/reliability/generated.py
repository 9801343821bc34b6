"""Inputs that hypothesis builds from the grammar of a format, where changed bytes would seldom get through."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from starcli.checkpoints.metadata import Metadata
from starcli.files.tensor_layout import BYTES_PER_ELEMENT
from starcli.recipes.recipe import Recipe

from .targets import ENOUGH, Feeder, Target

PORTION = 2_000
"""Cases drawn at a time: hypothesis remembers all of a portion."""

words = st.sampled_from(("", "a", "a.1", "w", "format", "size", "within", "é\0", "{l}", "(a 2)", "1" * 30, "a" * 300))
numbers = st.sampled_from((0, 1, -1, 2, 0.5, 2**31, -(2**63), 2**64, 10**40, 1e300, float("nan"), float("inf")))
values = st.recursive(
    st.sampled_from((None, True, False)) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
axes = st.text("ab.{}l:019()+|_ -*", max_size=30)
sizes = st.integers(-1, 4) | st.just(2**47) | values
specs = st.dictionaries(st.sampled_from(("format", "groups", "tensors", "shapes", "buffers", "tied")), values)
records = st.fixed_dictionaries({"resolved": specs, "sha256": words})
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(sorted(BYTES_PER_ELEMENT)) | values,
        "shape": st.lists(sizes, max_size=3) | values,
        "data_offsets": st.lists(st.sampled_from((0, 1, 2, 4, 8)), min_size=2, max_size=2) | values,
    }
)


def _json(strategy: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    return strategy.map(lambda value: json.dumps(value).encode())


def _archspec(lines: list[tuple[str, list[str]]]) -> bytes:
    tensors = "".join(f"  {json.dumps(name)}: {json.dumps(found)}\n" for name, found in lines)
    return f"format: 1\ntensors:\n{tensors}".encode()


def _yaml(mapping: Mapping[str, Any]) -> bytes:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in mapping.items()).encode()


STRATEGIES: Mapping[str, SearchStrategy[bytes]] = {
    "safetensors header": _json(st.dictionaries(words | st.just("__metadata__"), entries, max_size=3)),
    "metadata": _json(
        st.fixed_dictionaries({}, optional={"spec": records})
        | st.dictionaries(st.sampled_from(sorted(Metadata.model_fields)), values)
    ),
    "archspec": st.lists(st.tuples(axes | st.just("layer.{l}.weight"), st.lists(axes, max_size=3)), max_size=4).map(
        _archspec
    ),
    "axis expression": axes.map(str.encode),
    "recipe": st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), values, max_size=6).map(_yaml),
}
"""For the target of each name."""


def run(target: Target, count: int, place: Path, keep: Path) -> list[str]:
    """`count` cases of the target's strategy, the same ones each time; what went wrong."""
    feeder = Feeder(target, place, keep)

    def portion(number: int, size: int) -> None:
        @seed(number)
        @settings(max_examples=size, deadline=None, database=None, phases=(Phase.generate,),
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(STRATEGIES[target.name])
        def feed(content: bytes) -> None:
            feeder.feed(content)

        feed()

    number = 0
    while feeder.cases < count and len(feeder.defects) < ENOUGH:
        portion(number, min(PORTION, count - feeder.cases))
        number += 1
    feeder.costs.close()
    return feeder.defects
