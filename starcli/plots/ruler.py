"""Words that fit: how wide a text is in a figure, and names shortened to a width such that they still differ."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from starcli.plots.look import FALLBACK, Look

ELLIPSIS = "…"
"""What stands for the part that is left out."""


class Ruler:
    """Measure of texts in the font of a figure."""

    def __init__(self, look: Look, size: float | None = None) -> None:
        """`size` of the texts in points, by default that of the figure."""
        self.size = size or look.size
        self._family = tuple(dict.fromkeys([look.family, FALLBACK]))

    @property
    def line(self) -> float:
        """Height of a line, in inches."""
        return 1.25 * self.size / 72

    def width(self, text: str) -> float:
        """Width of a text in inches; a hundredth more than it is, for the hinting of screens."""
        return 1.01 * _points(self.plain(text), self._family, self.size) / 72

    @cached_property
    def _faces(self) -> list[Any]:
        from matplotlib.font_manager import FontProperties, findfont, get_font

        return [get_font(findfont(FontProperties(family=name))) for name in self._family]

    def plain(self, text: str) -> str:
        r"""A text as it can be drawn, in one line: escapes for characters that no font has, `\u6a21`."""

        def can(character: str) -> bool:
            return character.isprintable() and any(face.get_char_index(ord(character)) for face in self._faces)

        return "".join(c if can(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in text)

    def shorten(self, text: str, inches: float) -> str:
        """`text` with as much of its middle left out as it takes to fit into a width; one character stays."""
        text = self.plain(text)
        if self.width(text) <= inches:
            return text
        low, high = 1, max(len(text) - 1, 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(_without_middle(text, middle)) <= inches else (low, middle - 1)
        return _without_middle(text, low)

    def wrap(self, text: str, inches: float) -> list[str]:
        """The words of `text` in lines of a width; a longer word is shortened."""
        lines: list[str] = []
        for word in self.plain(text).split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(longer) <= inches:
                lines[-1] = longer
            else:
                lines.append(self.shorten(word, inches))
        return lines

    def within(self, names: Sequence[str], inches: float, tails: Sequence[str] = ()) -> list[str]:
        """Names in lines of a width, in one line where it can be; where a word is too long, as of `distinct`.

        tails: what follows each name and is never shortened.
        """
        tails = tails or [""] * len(names)
        wrapped = []
        for name, tail in zip(names, tails, strict=True):
            if any(self.width(word) > inches for word in self.plain(name).split()):
                short = self.distinct(names, inches - max(map(self.width, tails)))
                return [name + tail for name, tail in zip(short, tails, strict=True)]
            *before, last = self.wrap(name, inches) or [""]
            end = last + tail if self.width(last + tail) <= inches else f"{last}\n{tail.lstrip(': ')}"
            wrapped.append("\n".join([*before, end]))
        return wrapped

    def after_files(self, files: Sequence[str], texts: Sequence[str], inches: float) -> list[str]:
        """Each text after its file, `file: text`, or alone where that is empty; names of files fit into a width."""
        names = list(dict.fromkeys(filter(None, files)))
        short = dict(zip(names, self.distinct(names, inches), strict=True)) if names else {}
        return [f"{short[file]}: {text}" if file else text for file, text in zip(files, texts, strict=True)]

    def distinct(self, names: Sequence[str], inches: float) -> list[str]:
        """Names that fit into a width and still differ where the names do: what all have in common goes first."""
        plain = [self.plain(name) for name in names]
        short = [self.shorten(name, inches) for name in plain]
        begin, end = _common(plain)
        for more in range(max(begin, end) + 1) if len(set(short)) < len(set(plain)) else ():
            windows = [_window(name, max(begin - more, 0), max(end - more, 0)) for name in plain]
            if max(map(self.width, windows)) > inches:
                break
            short = windows
        if len(set(short)) == len(set(plain)):
            return short
        numbers = {name: f" ({number})" for number, name in enumerate(dict.fromkeys(plain), start=1)}
        return [self.shorten(name, inches - self.width(numbers[name])) + numbers[name] for name in plain]


@lru_cache(maxsize=10_000)
def _points(text: str, family: tuple[str, ...], size: float) -> float:
    """Width of a text in points. Kept, since layouts ask for the same names and labels again and again."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(family), size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def _window(text: str, begin: int, end: int) -> str:
    """`text` without so many characters at its begin and end."""
    return ELLIPSIS * (begin > 0) + text[begin : len(text) - end] + ELLIPSIS * (end > 0)


def _without_middle(text: str, kept: int) -> str:
    """The first and last of `text`, `kept` characters in all."""
    head = (kept + 1) // 2
    return text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]


def _common(names: Sequence[str]) -> tuple[int, int]:
    """Length of the beginning and of the end that all names share; they do not overlap."""
    begin = _shared(names)
    return begin, _shared([name[begin:][::-1] for name in names])


def _shared(names: Sequence[str]) -> int:
    """Number of characters that all names begin with."""
    columns = enumerate(zip(*names, strict=False))
    return next((place for place, letters in columns if len(set(letters)) > 1), min(map(len, names)))
