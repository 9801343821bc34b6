"""Reliability diagram: is a prediction of confidence 0.8 right in 80 of 100 cases?"""

from starcli.errors import number_of
from starcli.plots.rows import DrawnBins
from starcli.reports.drawing import Scale, axes, svg, text_at
from starcli.reports.html import Markup, element
from starcli.reports.tables import words

SIDE, _LEFT, _TOP, SHARES = 190, 40, 14, 34
"""Side of the square, its margins, and the height of the bars of counts above it, in pixels."""

_FEW = 10
"""Bins of fewer examples are pale: their accuracy says little."""

RELIABILITY_WORDS = (
    "Reliability: a bar for each bin of confidence, as high as the accuracy in it; on the dashed line they are equal. "
    f"Bins of fewer than {_FEW} examples are pale, grey bars above say where the examples are."
)
"""What a reliability diagram shows."""


def reliability_chart(bins: DrawnBins, title: str, ece: float) -> Markup:
    """Accuracy over confidence in bins of equal width, the ideal as a diagonal, the number of examples above."""
    count, total = len(bins.count), sum(bins.count) or 1
    top = _TOP + SHARES
    across, up = Scale(0, 1, _LEFT, _LEFT + SIDE), Scale(0, 1, top + SIDE, top)
    parts = [axes(across, up, "confidence", "")]
    for number, (confidence, accuracy, examples) in enumerate(
        zip(bins.confidence, bins.accuracy, bins.count, strict=True)
    ):
        x, wide = across(number / count) + 1, SIDE / count - 2
        said = f"{number_of(examples, 'example')}, confidence {words(confidence)}, accuracy {words(accuracy)}"
        if examples:
            tip, share = element("title", said), SHARES * examples / total
            parts.append(
                element("rect", tip, x=x, width=wide, y=_TOP - 4 + SHARES - share, height=share, class_="share")
            )
        if accuracy == accuracy:  # there are examples
            height, sure = max(up(0) - up(accuracy), 1), "" if examples >= _FEW else " few"
            parts.append(
                element(
                    "rect",
                    element("title", said),
                    x=x,
                    width=wide,
                    y=up(0) - height,
                    height=height,
                    class_=f"bin{sure}",
                )
            )
    parts.append(element("line", x1=_LEFT, y1=top + SIDE, x2=_LEFT + SIDE, y2=top, class_="ideal"))
    parts.append(text_at(f"ECE {words(ece, 'loss')}", _LEFT + 2, _TOP + 10, "label strong"))
    said = f"reliability diagram of {title}: expected calibration error {words(ece, 'loss')}"
    return svg(_LEFT + SIDE + 12, top + SIDE + 40, said, *parts, class_="chart")
