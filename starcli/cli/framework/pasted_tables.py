"""Tables to paste: LaTeX for papers (package booktabs), Markdown for notes. Nothing is left out for width."""

import re
from collections.abc import Callable, Iterator, Sequence

from starcli.cli.framework.columns import MISSING, SPREAD, Column, TextTable

_IN_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    MISSING: "--",
    SPREAD: r"$\pm$",
}
"""Characters that mean something else in LaTeX, and what writes them."""

NEGATIVE = re.compile(r"-[0-9.,]+(e[+-]?\d+)?")
"""A negative number, whose sign is a hyphen where it is not set as mathematics."""


def latex_table(table: TextTable) -> str:
    r"""A `tabular` in the style of booktabs; a deviation stands beside its mean, `$0.12 \pm 0.01$`.

    Common values stand above it in comments, and so does what cannot be set: a curve of blocks.
    """
    curves = [column.heading for column in table.cells if column.form == "spark"]
    shown = {column: cells for column, cells in table.cells.items() if column.form != "spark"}
    comments = [*table.below, *([f"not set here: {', '.join(curves)}; --format json has all"] if curves else [])]
    columns = list(_joined(TextTable(shown, ()), _latex_number, _latex_spread))
    sides = "".join("r" if column.is_number else "l" for column, _ in columns)
    rows = [" & ".join(cells) + r" \\" for cells in zip(*(cells for _, cells in columns), strict=True)]
    heads = " & ".join(_latex_text(column.heading) for column, _ in columns) + r" \\"
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", heads, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*map(latex_comment, comments), *lines])


def latex_comment(text: str) -> str:
    """Text that LaTeX passes over.

    >>> latex_comment("alignment: weight")
    '% alignment: weight'
    """
    return "\n".join(f"% {line}".rstrip() for line in text.splitlines())


def markdown_table(table: TextTable) -> str:
    """A table of GitHub's Markdown, and common values in lines below it."""
    columns = list(_joined(table, _markdown_text, lambda mean, spread: f"{mean} {SPREAD} {spread}"))
    heads = [_markdown_text(column.heading) for column, _ in columns]
    sides = ["---:" if column.is_number else "---" for column, _ in columns]
    rows = [heads, sides, *zip(*(cells for _, cells in columns), strict=True)]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n\n".join(["\n".join(lines), *map(_markdown_text, table.below)])


def markdown_block(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return f"```text\n{text}\n```"


def _joined(
    table: TextTable, written: Callable[[str], str], with_spread: Callable[[str, str], str]
) -> Iterator[tuple[Column, Sequence[str]]]:
    """Columns and their written cells; one of deviations is joined to the column before."""
    columns = list(table.cells)
    for column, following in zip(columns, [*columns[1:], None], strict=True):
        if column.heading == SPREAD:
            continue
        cells = table.cells[column]
        if following is None or following.heading != SPREAD:
            yield column, [written(cell) for cell in cells]
        else:
            pairs = zip(cells, table.cells[following], strict=True)
            yield column, [written(a) if MISSING in (a, b) else with_spread(a, b) for a, b in pairs]


def _latex_text(text: str) -> str:
    return "".join(_IN_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _latex_number(text: str) -> str:
    return f"${_latex_text(text)}$" if NEGATIVE.fullmatch(text.rstrip("%")) else _latex_text(text)


def _latex_spread(mean: str, spread: str) -> str:
    unit = r"\%" if mean.endswith("%") else ""
    return rf"${mean.rstrip('%')} \pm {spread.rstrip('%')}{unit}$"


def _markdown_text(text: str) -> str:
    """Text in which Markdown sees nothing of its own: `|` would end the cell, `*` and `_` set in italics."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", " ".join(text.split()))
