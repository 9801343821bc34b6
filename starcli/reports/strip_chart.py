"""Dots of groups side by side, each group with its mean and interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from starcli.reports.curve_chart import COLOURS, LEFT, RIGHT, WIDTH
from starcli.reports.drawing import LETTER, Scale, cut_middle, svg, text_at
from starcli.reports.html import Markup, element
from starcli.reports.tables import words

_ROW, _TOP = 40, 14
"""Height of a group, and of what is above the first one, in pixels."""


@dataclass(frozen=True)
class Strip:
    """A group: its label and colour, a value and a name for each dot, their mean, its interval (two NaN: none)."""

    label: str
    slot: int
    values: Sequence[float]
    names: Sequence[str]
    mean: float
    interval: tuple[float, float]


def strip_chart(strips: Sequence[Strip], title: str, across_label: str) -> Markup:
    """Draw a line of dots for each group over a common axis from 0; the mean is a bar, its interval a thick line."""
    ends = [end for strip in strips for end in strip.interval if math.isfinite(end)]
    across = Scale.over([value for s in strips for value in s.values] + ends, LEFT - 34, WIDTH - RIGHT - 6, least=0.0)
    bottom = _TOP + _ROW * len(strips)
    parts = [element("line", x1=across(v), x2=across(v), y1=_TOP, y2=bottom, class_="grid") for v, _ in across.ticks()]
    for number, strip in enumerate(strips):
        parts.append(_strip(strip, across, _TOP + _ROW * number))
    parts += [text_at(said, across(value), bottom + 15, "tick middle") for value, said in across.ticks()]
    parts.append(text_at(across_label, (across.start + across.end) / 2, bottom + 31, "label middle"))
    said = ", ".join(f"{strip.label}: mean {words(strip.mean, 'loss')}" for strip in strips)
    return svg(WIDTH, bottom + 40, f"{title}. {said}", *parts, class_="chart")


def _strip(strip: Strip, across: Scale, top: float) -> Markup:
    """The label of a group above its dots."""
    slot, y = strip.slot % COLOURS, top + 26
    mean = words(strip.mean, "loss")
    label = cut_middle(strip.label, WIDTH - RIGHT - LETTER * (len(mean) + 4))
    parts = [text_at(label, across.start, top + 11, "label"), text_at(mean, across.end, top + 11, "label end strong")]
    if all(map(math.isfinite, strip.interval)):
        low, high = (across(max(end, across.low)) for end in strip.interval)
        parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_=f"interval s{slot}"))
    for value, name in zip(strip.values, strip.names, strict=True):
        if math.isfinite(value):
            tip = element("title", f"{name}: {words(value, 'loss')}")
            parts.append(element("circle", tip, cx=across(value), cy=y, r=3.6, class_=f"dot f{slot}"))
    if math.isfinite(strip.mean):
        x = across(strip.mean)
        parts.append(element("line", x1=x, x2=x, y1=y - 8, y2=y + 8, class_=f"mean s{slot}"))
    return element("g", *parts)
