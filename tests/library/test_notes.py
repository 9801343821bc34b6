"""Calls warn of what their commands note."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.program import TRAIN, run_here

import starcli as sc
from starcli.library.python_words import in_python

OF_COMMANDS = ("the default recipe is used", "from the cache")
"""Notes of commands alone: on a default of the function, on files and the cache."""

SAID = {
    "weights": ("--epochs 1 --class-weights balanced", {"epochs": 1, "class_weights": "balanced"}),
    "repair": ("--renormalise repair", {"renormalise": "repair"}),
    "weight": ("--align weight", {"alignment": "weight"}),
}
"""Options, and the keywords that say the same."""

SMALL = {"arch_args": {"depth": 2, "hidden_dim": 12}, "limit": 300}

CALLS: dict[str, tuple[list[str], Callable[..., object]]] = {
    f"train {' '.join(TRAIN)} -o n.safetensors": (["weights"], lambda *_, **k: sc.train("mlp", "digits", **SMALL, **k)),
    "star --sources {0} {1} --held-out {2} --eval-every 1 -o n.safetensors": (
        ["weights", "repair"],
        lambda a, b, c, _, **k: sc.find_star([a, b], held_out=[c], eval_every=1, **k),
    ),
    "fuse --method distil --sources {0} {1} -o n.safetensors": (
        ["weights", "repair"],
        lambda a, b, *_, **k: sc.fuse([a, b], method="distil", **k),
    ),
    "curve {0} {1} -o n.safetensors": (["weights"], lambda a, b, *_, **k: sc.curve(a, b, **k)),
    "barrier {0} {1}": (["repair"], lambda a, b, *_, **k: sc.barrier(a, b, **k)),
    "barrier {0} {1} {2} --all-pairs": (["repair", "weight"], lambda a, b, c, _, **k: sc.all_pairs([a, b, c], **k)),
    "barrier --star {0} --sources {1} {2} --held-out {3}": (
        ["repair", "weight"],
        lambda a, b, c, d, **k: sc.star_report(a, [b, c], [d], **k),
    ),
    "bma --star {0} --sources {1} {2} --samples 2": (
        ["repair"],
        lambda a, b, c, _, **k: sc.bma(a, [b, c], samples=2, **k),
    ),
    "predict --star {0} --sources {1} {2} --samples 2 -o n.csv": (
        ["repair"],
        lambda a, b, c, _, **k: sc.predict(star=a, sources=[b, c], samples=2, **k),
    ),
    "interpolate {0} {1} --t 0.5 -o n.safetensors": (
        ["repair"],
        lambda a, b, *_, **k: sc.interpolate(a, b, t=0.5, **k),
    ),
    "plane {0} {1} {2} --points 3": ([], lambda a, b, c, _: sc.plane(a, b, c, points=3)),
    "report . {0} -o n.html": ([], lambda a, *_: sc.report([".", a])),
}
"""The line of a command on models, what it says besides, and the call."""


@pytest.mark.parametrize("line", CALLS)
def test_a_call_warns_of_what_its_command_notes(line: str, solutions, place: Path) -> None:
    said, call = CALLS[line]
    Path("broken.jsonl").write_text('{"schema": 1, "type": "barrier"\n')
    models = [str(each) for each in solutions.some(*range(4))]
    options = " ".join(SAID[name][0] for name in said)
    ran = run_here(*line.format(*models).split(), *options.split())
    assert ran.status == 0
    lines = [line.removeprefix("note: ") for line in ran.err.splitlines() if line.startswith("note: ")]
    notes = [in_python(line) for line in lines if not any(each in line for each in OF_COMMANDS)]
    keywords: dict[str, Any] = {}
    for name in said:
        keywords |= SAID[name][1]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(*models, **keywords)
    assert sorted(str(each.message) for each in found) == sorted(notes)
    assert notes
