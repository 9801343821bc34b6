"""Parts of all drawings: scales, axes, and the frame with which a page enlarges and saves them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starcli.reports.html import Child, Markup, element, number

LETTER = 6.1
"""About the width of a letter, in pixels of a drawing, at its usual size."""

WIDEST_LETTER = 7.2
"""Width of a letter where a page is narrow and letters are larger, as in the legends of charts."""

EQUAL_SHARE, NEARLY_ZERO = 1e-6, 1e-200
"""Values are equal, for a scale, where they differ by this share of themselves; below the second they are 0."""

TICK_STEPS = (1, 2, 2.5, 5, 10)
"""Distances between ticks, times powers of ten."""


@dataclass(frozen=True)
class Scale:
    """A straight map from values between `low` and `high` to pixels between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, *, least: float | None = None) -> "Scale":
        """A scale over all finite values with round ends; `least` is in it, whatever they are.

        >>> scale = Scale.over([0.1, 0.93], 100, 0)
        >>> scale.low, scale.high, scale(0.5)
        (0.0, 1.0, 50.0)
        """
        finite = [value for value in values if math.isfinite(value)] + ([] if least is None else [least])
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        size = max(abs(low), abs(high))
        if high - low <= EQUAL_SHARE * size or size < NEARLY_ZERO:
            room = size / 2 if size >= NEARLY_ZERO else 0.5
            low, high = low - room, high + room
            low = max(low, least) if least is not None else low
        step = tick_step(high - low)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values from end to end, and how they are written."""
        step = tick_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(number * step, tick_words(number * step, step)) for number in range(first, last + 1)]


@dataclass(frozen=True)
class LogScale(Scale):
    """A logarithmic map, between powers of ten."""

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, *, least: float | None = None) -> "LogScale":
        """A scale over all finite values, which are positive.

        >>> scale = LogScale.over([0.02, 3.0], 100, 0)
        >>> [(said, round(scale(value))) for value, said in scale.ticks()]
        [('0.01', 100), ('0.1', 67), ('1', 33), ('10', 0)]
        """
        finite = [value for value in values if math.isfinite(value)] + ([] if least is None else [least])
        low, high = (math.log10(end) for end in (min(finite, default=1.0), max(finite, default=10.0)))
        low = math.floor(low + 1e-9)
        return cls(10.0**low, 10.0 ** max(math.ceil(high - 1e-9), low + 1), start, end)

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        share = math.log10(value / self.low) / math.log10(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Powers of ten, not more than six."""
        first, last = round(math.log10(self.low)), round(math.log10(self.high))
        step = (last - first) // 6 + 1
        return [(10.0**power, f"{10.0**power:g}") for power in range(first, last + 1, step)]


def tick_step(span: float) -> float:
    """A round distance between about five ticks of a span.

    >>> tick_step(1.0), tick_step(0.07)
    (0.2, 0.02)
    """
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(step * power for step in TICK_STEPS if step * power >= span / 5 * (1 - 1e-9))


def tick_words(value: float, step: float) -> str:
    """A tick's value with the decimals that tell it from the next one.

    >>> tick_words(0.30000000000000004, 0.1), tick_words(200.0, 100.0), tick_words(0, 0.25), tick_words(2e-7, 1e-7)
    ('0.3', '200', '0.00', '2e-07')
    """
    if step < 1e-4 or step >= 1e6:
        digits = math.ceil(math.log10(max(abs(value) / step, 1)) + 1e-9) + 1
        return f"{value:.{max(digits, 3)}g}"
    decimals = next(n for n in range(8) if abs(round(step, n) - step) < step * 1e-6)
    return f"{value:.{decimals}f}"


def axes(across: Scale, up: Scale, across_label: str, up_label: str, *, whole: bool = False) -> Markup:
    """Grid, ticks and labels of a plot; `whole`: only whole numbers stand across it."""
    left, right, top, bottom = across.start, across.end, up.end, up.start
    parts: list[Markup] = []
    for value, said in up.ticks():
        y = up(value)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(text_at(said, left - 6, y + 3.5, "tick end"))
    for value, said in across.ticks():
        if not whole or value == round(value):
            parts.append(text_at(f"{value:.0f}" if whole else said, across(value), bottom + 15, "tick middle"))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    parts.append(text_at(across_label, (left + right) / 2, bottom + 31, "label middle"))
    parts.append(text_at(up_label, left - 34, top - 9, "label"))
    return element("g", *parts)


def text_at(said: str, x: float, y: float, class_: str, **attributes: Child) -> Markup:
    """Words in a drawing; of `class_` `middle` and `end` say where x is."""
    return element("text", said, x=x, y=y, class_=class_, **attributes)


def cut_middle(name: str, room: float) -> str:
    """A name that fits into so many pixels: what it lacks is taken from its middle.

    >>> cut_middle("a-very-long-name.safetensors", 80), cut_middle("short", 80)
    ('a-very…ensors', 'short')
    """
    letters = max(int(room / LETTER), 4)
    if len(name) <= letters:
        return name
    return f"{name[: letters // 2]}…{name[len(name) - (letters - letters // 2 - 1) :]}"


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """A path through points; one that is not finite leaves a gap.

    >>> polyline([(0, 1), (2, math.nan), (3, 4), (5, 6.5)])
    'M0 1M3 4L5 6.5'
    """
    found, drawing = "", False
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            drawing = False
            continue
        found += f"{'L' if drawing else 'M'}{number(x)} {number(y)}"
        drawing = True
    return found


def svg(width: float, height: float, title: str, *children: Child, **attributes: Child) -> Markup:
    """A drawing of its own size, with words for those who cannot see it."""
    size: dict[str, Child] = {
        "viewBox": f"0 0 {width:.0f} {height:.0f}",
        "width": round(width),
        "height": round(height),
    }
    return element(
        "svg", element("title", title), *children, xmlns="http://www.w3.org/2000/svg", role="img", **size, **attributes
    )


def figure(drawing: Markup, caption: str, name: str, *below: Child) -> Markup:
    """A drawing with its caption; `name` is that of the file in which it is saved."""
    inside = element("div", drawing, class_="drawing")
    return element("figure", element("figcaption", caption), inside, *below, data_name=name)
