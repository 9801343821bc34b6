"""The page: one HTML file, the same bytes for the same files, that fetches nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from starcli.errors import number_of
from starcli.reports.barrier_sections import barrier_section, pairs_section
from starcli.reports.findings import Findings
from starcli.reports.html import Markup, element, together
from starcli.reports.made_by import made_section
from starcli.reports.model_sections import (
    average_section,
    checkpoint_section,
    evaluation_section,
    fusion_section,
)
from starcli.reports.other_section import other_section
from starcli.reports.plane_section import plane_section
from starcli.reports.section import Section, folded_part
from starcli.reports.summary import summary
from starcli.reports.training_section import training_section
from starcli.version import __version__


def render_page(found: Findings) -> str:
    """The HTML of all that was found; sections only for what there is.

    The content security policy allows no request, and no script but the page's own, whatever names of files hold.
    """
    style, script = (_packaged(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src 'sha256-{digest}'"
    sections = _sections(found)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"starcli {__version__}"),
        element("title", found.title),
        element("style", Markup(style)),
    )
    body = element(
        "body", _header(found), _contents(sections), _main(found, sections), element("script", Markup(script))
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _packaged(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _sections(found: Findings) -> list[Section]:
    """What there is, in the order in which it is read."""
    some = [
        checkpoint_section(found),
        barrier_section(found.runs),
        pairs_section(found.runs),
        plane_section(found.runs),
        average_section(found.runs),
        evaluation_section(found.runs),
        fusion_section(found.runs),
        training_section(found.logs),
        other_section(found.runs),
        made_section(found),
    ]
    return [section for section in some if section is not None]


def _header(found: Findings) -> Markup:
    return element("header", element("h1", found.title), summary(found))


def _contents(sections: Sequence[Section]) -> Markup:
    links = (element("a", each.heading, href=f"#{each.anchor}") for each in sections)
    return element("nav", *links, aria_label="contents")


def _main(found: Findings, sections: Sequence[Section]) -> Markup:
    parts = [element("section", element("h2", each.heading), each.content, id=each.anchor) for each in sections]
    lines = [element("li", line) for line in found.left_out]
    count = number_of(len(lines), "file")
    left_out = folded_part(f"{count} could not be read", element("ul", *lines)) if lines else None
    made = element("footer", left_out, element("p", f"starcli {__version__}"))
    return element("main", together(*parts), made)
