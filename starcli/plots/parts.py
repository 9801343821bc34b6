"""Parts that figures share: the lines above the panels, the legend below, numbers with two digits."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starcli.plots.look import Look
from starcli.plots.ruler import Ruler
from starcli.plots.style import GREY, grow

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from starcli.plots.rows import DrawnPosterior

HANDLE = 3.4
"""Width of what stands before a legend's text, in sizes of the font."""

TICK_WIDTH = 0.3
"""Room in inches for a tick below a panel: two digits with a sign."""

MOST_SPACES = 5
"""Spaces between the ticks of an axis, at most."""

NARROWEST_PANEL = 1.55
"""Least width of a panel, in inches."""

FEWEST_FOR_BAND = 3
"""Of fewer curves each is drawn, and no spread: it would say nearly nothing."""

SPACE = 1.6
"""Width of the space between two columns of a legend."""


def two_digits(value: float) -> str:
    """A number with two significant digits.

    >>> [two_digits(value) for value in (0.4, 0.0123, 12.3, 1234.0, 3.21e-8, 0.0, float("nan"))]
    ['0.40', '0.012', '12', '1200', '3.2e−8', '0', 'not finite']
    """
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    if -4 <= int(exponent) < 5:
        text = f"{float(f'{value:.1e}'):.{max(1 - int(exponent), 0)}f}"
    else:
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def legend_line(**style: Any) -> Any:
    """A line or a marker, as a legend shows it."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)


def panel_columns(look: Look, panels: int) -> int:
    """Number of panels beside one another, at most `panels`."""
    return min(max(int(look.width / NARROWEST_PANEL), 1), panels)


def few_ticks(axis: "Axis", *, integer: bool = False, room: float = math.inf, ruler: Ruler | None = None) -> None:
    """Choose ticks of an axis by its range alone: by default they depend on the layout, which depends on them.

    room: about how many inches the axis has. ruler: of their texts; where they would touch, some are left out.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator

    spaces = max(int(min(room / TICK_WIDTH, MOST_SPACES)), 2)
    axis.set_major_locator(
        MaxNLocator(nbins=spaces, steps=[1, 2, 2.5, 5, 10], integer=integer, min_n_ticks=1 if integer else 2)
    )
    if ruler is None:
        return
    low, high = axis.get_view_interval()
    ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
    if len(ticks) > 1:
        widest = max(map(ruler.width, axis.get_major_formatter().format_ticks(ticks))) + ruler.size / 144
        step = math.ceil(widest / (room * (ticks[1] - ticks[0]) / (high - low)))
        axis.set_major_locator(FixedLocator(ticks[::step]))


def treatment_words(alignment: str | None, renormalise: str) -> str:
    """Words for how models were aligned and points between them renormalised; nothing where it is not known, or usual.

    >>> treatment_words("weight, 10 restarts", "recalibrate"), treatment_words("none", "repair, logits")
    ('aligned: weight, 10 restarts', 'models as given; renormalised: repair, logits')
    >>> treatment_words("recorded", "recalibrate")
    'aligned beforehand'
    """
    words = {None: "", "none": "models as given"}
    for how in ("", " (jointly)", " (both to a third model)"):
        words[f"recorded{how}"] = f"aligned beforehand{how}"
    aligned = words.get(alignment, f"aligned: {alignment}")
    return "; ".join(filter(None, [aligned, "" if renormalise == "recalibrate" else f"renormalised: {renormalise}"]))


def form_words(form: str) -> str:
    """Name of the form of a path.

    >>> form_words("bezier"), form_words("polygon")
    ('Bezier curve', 'polygon')
    """
    return "Bezier curve" if form == "bezier" else form


def average_words(rows: Sequence["DrawnPosterior"]) -> list[str]:
    """Words for how the points of averages were drawn and which temperatures they have; none for what is usual."""
    star = next((row for row in rows if row.posterior == "star"), None)
    law = [f"t: {star.sampling}"] if star and star.sampling != "uniform" else []
    turn = ["each source in turn"] if star and star.in_turn else []
    found = [row.temperature for row in rows if math.isfinite(row.temperature)]
    if not found:
        return [*law, *turn]
    low, high = two_digits(min(found)), two_digits(max(found))
    between = f"T = {low}" if low == high else f"T from {low} to {high}"
    return [*law, *turn, between + (f", fitted on {rows[0].fitted_on}" if rows[0].fitted_on else "")]


def model_name(file: str) -> str:
    """A model's name without the suffix that all have."""
    return file.removesuffix(".safetensors")


def heading(figure: "Figure", look: Look, words: Sequence[str], *, names: Sequence[str] = ()) -> None:
    """Write lines above the panels: first `names`, each shortened to a line, then `words`, over several if need be."""
    ruler, room = Ruler(look), look.width - 0.1
    lines = [ruler.shorten(name, room) for name in names] + [line for text in words for line in ruler.wrap(text, room)]
    if lines:
        figure.suptitle(
            "\n".join(lines), x=0.05 / look.width, ha="left", fontsize=look.size, color=GREY, linespacing=1.25
        )
        grow(figure, ruler.line * len(lines) + 0.06)


def legend_below(
    figure: "Figure",
    look: Look,
    handles: Sequence[Any],
    labels: Sequence[str],
    *,
    files: Sequence[str] = (),
    tails: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw a legend below the panels, in as many columns as fit.

    Long labels are wrapped, those of long words shortened, but not their `tails`. files: what stands before each.
    """
    ruler, em = Ruler(look), look.size / 72
    room = look.width - 0.2
    beside = room - (HANDLE + 1) * em
    named = ruler.after_files(files, labels, beside - ruler.width(":")) if files else labels
    texts = ruler.within(named, beside, tails)
    column = max(ruler.width(line) for text in texts for line in text.split("\n")) + (HANDLE + SPACE) * em
    columns = min(max(int((room + SPACE * em) / column), 1), len(texts))
    lines = [line for part in title.splitlines() for line in ruler.wrap(part, room)]
    legend = figure.legend(
        handles, list(map(str, range(len(texts)))), loc="outside lower center", ncols=columns, borderaxespad=0.2,
        title="\n".join(lines) or None,
    )  # fmt: skip
    for shown, text in zip(legend.get_texts(), texts, strict=True):
        shown.set_text(text)  # only now: matplotlib leaves out labels that begin with _
    legend.get_title().set_multialignment("center")
    height = sum(1 + text.count("\n") for text in texts) if columns == 1 else math.ceil(len(texts) / columns)
    grow(figure, (height + len(lines)) * 1.15 * ruler.line + 0.12)
