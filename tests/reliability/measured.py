"""Measurements that are killed in their midst, then typed again: what was measured is not measured again."""

import json
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from .ground import TRAIN
from .killed import dying_at
from .trial import command


@mock.patch.dict(os.environ)  # other trials keep their cache
def interrupted_measurements(sources: Path, place: Path) -> list[str]:
    """`barrier --all-pairs` and `bma` killed, then typed again: what was measured is not measured again."""
    defects = []
    many = place / "many"
    many.mkdir()
    ended = command([*TRAIN, "--seeds", "0-3", "-o", "{seed}.safetensors"], many)
    models = [f"{i}.safetensors" for i in range(4)]
    lines = {
        "barrier": ("barrier", *models, "--all-pairs", "--align", "weight", "--json", "--threads", "1"),
        "bma": ("bma", "--star", models[0], "--sources", *models[1:], "--samples", "3", "--json", "--threads", "1"),
    }
    if ended.status:
        return [ended.err]
    # in the midst: each entry takes fourteen steps (making, writing, flushing, renaming, removing), a proof comes first
    for (name, words), steps in zip(lines.items(), (60, 70), strict=True):
        fresh_cache(place, f"cache-{name}-0")
        whole = command(words, many)
        fresh_cache(place, f"cache-{name}")
        killed = command(words, many, lambda step=steps: dying_at(step))
        kept = entries(place / f"cache-{name}")
        again = command(words, many, lambda: counting(many / "measured"))
        measured = int((many / "measured").read_text())
        # of six pairs; of three repeats, three of the entries being those of single models
        expected = {"barrier": 6 - kept.get("barriers", 0), "bma": 3 - max(0, kept.get("bma", 0) - 3)}[name]
        if whole.status or again.status:
            defects.append(f"{name}: {whole.err} {again.err}")
        elif [_numbers(line) for line in again.out.splitlines()] != [_numbers(line) for line in whole.out.splitlines()]:
            defects.append(f"{name}: other results after a kill")
        elif killed.status != -signal.SIGKILL or not 0 < measured < {"barrier": 6, "bma": 3}[name]:
            defects.append(f"{name}: was not killed in its midst: {killed.status}, {kept}, {measured} measured again")
        elif measured != expected:
            defects.append(f"{name}: measured {measured} pairs again, {kept} were kept")
        last = command(words, many, lambda: counting(many / "measured"))
        if int((many / "measured").read_text()) or last.out != again.out:
            defects.append(f"{name}: measured again what was finished")
    return defects


def _numbers(line: str) -> Any:
    return {key: value for key, value in json.loads(line).items() if key != "seconds"}


def fresh_cache(place: Path, name: str) -> None:
    os.environ["XDG_CACHE_HOME"] = str(place / name)


def entries(cache: Path) -> dict[str, int]:
    """How many values of each kind a cache holds."""
    return {kind.name: len(list(kind.glob("*.json"))) for kind in (cache / "starcli").glob("*")}


def counting(note: Path) -> None:
    """Write to `note` how many paths and predictions this process measures."""
    from starcli.averaging.repeat import Repeat
    from starcli.barriers import pairs

    counts = [0]
    note.write_text("0")

    def count(place: Any, name: str) -> None:
        plain = getattr(place, name)

        def counted(*args: Any, **words: Any) -> Any:
            counts[0] += 1
            note.write_text(str(counts[0]))
            return plain(*args, **words)

        setattr(place, name, counted)

    count(pairs, "walk")
    count(Repeat, "scored")
