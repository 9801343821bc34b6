"""JSON with a few of its values of another type, left out, or more of them: changed bytes seldom leave it JSON."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .targets import ENOUGH, Feeder, Target

VALUES = (None, True, False, 0, 1, -1, 2, 0.5, -0.0, 2**31, 2**63, 2**64, 10**40, 1e300, 1e-320, "", "a", "\ud800x",
          "é\0", [], {}, [1], ["a"], {"a": 1}, [[]], [[1, 2], [3]], [None], {"0": None}, "NaN", float("inf"),
          float("nan"))  # fmt: skip
KEYS = ("x", "type", "schema", "epoch", "task", "matrix", "weights", "0")

TARGETS = (
    "table, .jsonl", "label of a webdataset", "saved data set, dataset_info.json", "saved data set, state.json",
    "tokenizer", "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json",
    "adapter_config.json", "index of shards", "results, on a page", "log of a run",
)  # fmt: skip
"""Readers of JSON, or of lines of it."""


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a value with each of its keys."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def changed(content: bytes, draws: random.Random) -> bytes:
    """JSON lines, of which one object or list is changed in up to three places."""
    lines = [json.loads(line) for line in content.splitlines()] if content.count(b"\n{") else [json.loads(content)]
    chosen = draws.choice(lines)
    for _ in range(draws.choice((1, 1, 2, 3))):
        places = list(_places(chosen)) if isinstance(chosen, dict | list) else []
        if not places:
            break
        container, key = draws.choice(places)
        match draws.randrange(5):
            case 0:
                del container[key]
            case 1 if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case 1:
                container[draws.choice(KEYS)] = copy.deepcopy(draws.choice(VALUES))
            case _:
                container[key] = copy.deepcopy(draws.choice(VALUES))
    return "\n".join(map(json.dumps, lines)).encode()


def run(target: Target, count: int, place: Path, keep: Path, seed: int = 0) -> list[str]:
    """`count` cases; what went wrong."""
    draws, feeder = random.Random(f"{target.name} {seed}"), Feeder(target, place, keep)
    while feeder.cases < count and len(feeder.defects) < ENOUGH:
        feeder.feed(changed(draws.choice(target.seeds), draws))
    feeder.costs.close()
    return feeder.defects
