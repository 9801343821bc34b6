"""Width and font of figures, as a paper's template asks for them."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from starcli.errors import StarcliError, few

FALLBACK = "DejaVu Sans"
"""The one font that comes with matplotlib and has most characters; where the chosen font lacks one, it is drawn so."""

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
"""Units of a width; pt is TeX's, whose \\the\\columnwidth tells it."""

NARROWEST_FIGURE, WIDEST_FIGURE = 1.5, 40.0
"""Limits of a width, in inches."""

SMALLEST, LARGEST = 4.0, 30.0
"""Limits of a font's size, in points."""


@dataclass(frozen=True)
class Look:
    """Width of a figure in inches, family and size (points) of its font; a NeurIPS or ICLR page is 5.5 inches wide."""

    width: float = 5.5
    family: str = FALLBACK
    size: float = 8.0

    @property
    def small(self) -> float:
        """Size of the numbers at axes and in cells."""
        return max(0.85 * self.size, SMALLEST)

    @classmethod
    def of(cls, width: str | None = None, font: str | None = None) -> "Look":
        """The look for `3.25in` and `Times New Roman, 9`, in the words of `--figure-width` and `--figure-font`.

        Raises StarcliError for what is no width or an unknown font.

        >>> Look.of("82.55mm", "9")
        Look(width=3.25, family='DejaVu Sans', size=9.0)
        """
        found: dict[str, Any] = {} if width is None else {"width": _inches(width)}
        return cls(**found, **({} if font is None else _font(font)))


def _inches(text: str) -> float:
    """A length such as `8.5cm`."""
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(in|cm|mm|pt)\s*", text)
    if match is None:
        raise StarcliError(f"figure width {text!r}: expected a number and a unit, such as 3.25in, 8.5cm, 85mm or 240pt")
    inches = round(float(match[1]) * INCHES[match[2]], 4)
    if not NARROWEST_FIGURE <= inches <= WIDEST_FIGURE:
        raise StarcliError(f"figure width {text!r}: expected between {NARROWEST_FIGURE:g} and {WIDEST_FIGURE:g} inches")
    return inches


def _font(text: str) -> dict[str, Any]:
    """Family and size of `Times New Roman, 9`, or of one of the two."""
    *families, last = (part.strip() for part in text.split(","))
    size = re.fullmatch(r"(\d+\.?\d*)(pt)?", last)
    family = ", ".join(families if size else [*families, last])
    found: dict[str, Any] = {"family": _installed(family)} if family else {}
    if size:
        found["size"] = float(size[1])
        if not SMALLEST <= found["size"] <= LARGEST:
            raise StarcliError(f"figure font {text!r}: expected a size between {SMALLEST:g} and {LARGEST:g} points")
    return found


def _installed(family: str) -> str:
    """The name of an installed font, however its letters are written."""
    from matplotlib.font_manager import fontManager

    names = {font.name.lower(): font.name for font in fontManager.ttflist if "Size" not in font.name}
    if family.lower() not in names:
        close = [names[name] for name in get_close_matches(family.lower(), names, cutoff=0.5)]
        there = " or ".join(close) if close else few(sorted(names.values()), 20)
        raise StarcliError(f"figure font {family!r} is not installed; there is {there}")
    return names[family.lower()]
