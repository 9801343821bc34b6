"""HTML and SVG as nested calls, in which all text is escaped."""

import html

VOID = {"br", "col", "hr", "img", "input", "link", "meta"}
"""Elements without content, which are not closed."""

CLOSED = {"circle", "line", "path", "rect"}
"""Elements of SVG, which may be closed at once where nothing is in them."""


class Markup(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


Child = Markup | str | int | float | None
"""What stands in an element; None is nothing."""


def escape(child: Child) -> Markup:
    """Text as HTML.

    >>> escape("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    >>> escape(escape("<b>"))
    '&lt;b&gt;'
    """
    if child is None:
        return Markup()
    return child if isinstance(child, Markup) else Markup(html.escape(_writable(str(child))))


def element(tag: str, *children: Child, **attributes: Child) -> Markup:
    """An element; underscores in names of attributes are dashes, one at the end is left out, None is no attribute.

    >>> element("p", "1 < 2", element("b", "!"), class_="note", data_row=3, id=None)
    '<p class="note" data-row="3">1 &lt; 2<b>!</b></p>'
    >>> element("rect", x=1.5, width=2.0)
    '<rect x="1.5" width="2"/>'
    """
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(number(value) if isinstance(value, float) else value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{words}>")
    inside = "".join(map(escape, children))
    if tag in CLOSED and not inside:
        return Markup(f"<{tag}{words}/>")
    return Markup(f"<{tag}{words}>{inside}</{tag}>")


def together(*children: Child) -> Markup:
    """Several things, one after the other."""
    return Markup("".join(map(escape, children)))


def number(value: float) -> str:
    """A coordinate, with a tenth of a thousandth of a unit at most.

    >>> number(12.0), number(0.12345678), number(-0.00001)
    ('12', '0.1235', '0')
    """
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _writable(text: str) -> str:
    """Text that a file in UTF-8 can hold and a page may: halves of characters and control characters are replaced."""
    kept = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c in "\n\t" or (ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0) else "\N{REPLACEMENT CHARACTER}"
        for c in kept
    )
