"""Which lines of a barrier figure belong together, and what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from starcli.barriers.groups import TRAINED, UNALIGNED
from starcli.errors import few, number_of
from starcli.plots.parts import form_words, model_name, treatment_words, two_digits
from starcli.plots.rows import DrawnLine
from starcli.plots.style import GROUP_STYLES, LINE_STYLES, Style
from starcli.registry.tasks import METRICS

MOST_MARKED = 3
"""Largest number of lines whose barriers are drawn into the panels: more would hide the curves."""

MOST_LABELLED = len(LINE_STYLES)
"""Largest number of lines that have a style and a label each; more are drawn as one group."""

FileLine = tuple[str, DrawnLine]
"""A line, and the label of its file."""


@dataclass(frozen=True)
class Bundle:
    """Lines of one style under one label, at the same values of t; their file is named where there are several."""

    file: str
    label: str
    style: Style
    lines: Sequence[DrawnLine]

    @property
    def t(self) -> Any:
        """Where its lines were measured, (points,)."""
        return np.array(self.lines[0].t)

    def curves(self, split: str, metric: str) -> Any:
        """Values along the lines of a split, (lines, points): the loss, or a metric, shares in per cent."""
        curves = [line.curves[split] for line in self.lines if split in line.curves]
        if metric == "loss":
            return np.array([curve.loss for curve in curves], dtype=float)
        values = [curve.values for curve in curves if curve.metric == metric]
        return np.array(values, dtype=float) * METRICS[metric].factor

    def numbers(self, splits: Sequence[str]) -> str:
        """Mean loss barrier on each split, in words."""
        found = [[line.curves[split].loss_barrier for line in self.lines if split in line.curves] for split in splits]
        return " / ".join(two_digits(float(np.mean(values))) if values else "–" for values in found)


def rise_above_chord(t: Any, curve: Any, metric: str) -> Any:
    """How far a loss lies above, or a metric below, the straight line between its ends, (points,): 0 at the ends."""
    chord = curve[0] + t * (curve[-1] - curve[0])
    rise = curve - chord if metric == "loss" else chord - curve
    return np.concatenate([[0.0], rise[1:-1], [0.0]]) if np.isfinite(rise).all() else rise


def bundles_of(results: Mapping[str, Sequence[DrawnLine]]) -> list[Bundle]:
    """Lines in bundles: those of a group, or each line alone, or, where there are too many, those of a file.

    Beside unaligned pairs all other curves would look flat, so that they are drawn only where there are no others.
    """
    lines = [(file, line) for file, found in results.items() for line in found]
    others = [(file, line) for file, line in lines if line.group != UNALIGNED]
    lines = others or lines
    alone = len(lines) <= MOST_LABELLED and not any(line.group for _, line in lines)
    several = len({file for file, _ in lines}) > 1
    labels = _line_labels(lines) if alone else [line.group or "lines" for _, line in lines]
    bundled: dict[Any, list[FileLine]] = {}
    for label, (file, line) in zip(labels, lines, strict=True):
        named = file if several and not alone else ""
        bundled.setdefault((named, label, tuple(line.t)), []).append((file, line))
    found: list[Bundle] = []
    for (named, label, _), members in bundled.items():
        own = None if several else GROUP_STYLES.get(members[0][1].group or "")
        count = "" if alone else f" ({number_of(len(members), 'pair')})"
        style = own or LINE_STYLES[len(found) % len(LINE_STYLES)]
        found.append(Bundle(named, label + count, style, [line for _, line in members]))
    return found


def _line_labels(lines: Sequence[FileLine]) -> list[str]:
    """Label of each line: what tells it from the others."""
    parts = [
        {
            "file": file,
            "a": model_name(line.a),
            "b": model_name(line.b),
            "path": path_words(line),
            "alignment": treatment_words(line.alignment, line.renormalise),
        }
        for file, line in lines
    ]
    differing = [key for key in parts[0] if len({part[key] for part in parts}) > 1]
    labels = [", ".join(part[key] for key in differing) or part["path"] for part in parts]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    return labels


def path_words(line: DrawnLine) -> str:
    """Words for the path from one model to the other: a line, or by way of which bends."""
    if not line.bends:
        return line.path
    return f"{form_words(line.path)} by way of {few([model_name(each) for each in line.bends], 3)}"


def common_words(bundles: Sequence[Bundle]) -> list[str]:
    """Words for what all lines have in common: how models were aligned, unusual paths and statistics."""
    lines = [line for bundle in bundles for line in bundle.lines]
    treatments = {treatment_words(line.alignment, line.renormalise) for line in lines if line.group != TRAINED}
    words = [*treatments] if len(treatments) == 1 else []
    paths = {path_words(line) for line in lines}
    words += [*paths] if len(paths) == 1 and paths != {"line"} else []
    if {line.statistics for line in lines} == {"own-ends"}:
        words.append("BatchNorm statistics of the ends: their own")
    return words


def ends_of(bundles: Sequence[Bundle]) -> tuple[str, str]:
    """Words for the ends t = 0 and t = 1 of all lines; empty where there are none for all."""
    lines = [line for bundle in bundles for line in bundle.lines]
    if any((line.group or "").startswith("star") for line in lines):
        return "star", "other"
    first, last = ({_end(line, side) for line in lines} for side in (0, 1))
    if any(line.group for line in lines) or (len(first) > 1 and len(last) > 1):
        return "", ""
    return (first.pop() if len(first) == 1 else "others"), (last.pop() if len(last) == 1 else "others")


def _end(line: DrawnLine, side: int) -> str:
    """Name of the model at an end, and what it is, where it is more than a model and its name does not say so."""
    name, kind = model_name((line.a, line.b)[side]), line.kinds[side]
    if kind != "model" and kind not in name.lower():
        return f"{name} ({kind})"
    return f"model {name}" if name.isdecimal() else name  # beneath 0, the place, 0 would say nothing
