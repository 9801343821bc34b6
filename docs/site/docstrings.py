"""Docstrings as Markdown: worked examples as code, `name: what it is` as items of a list."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)+", re.MULTILINE)
PARAMETER = re.compile(r"^([a-z]\w*(?:, \w+)*): (?=\S)", re.MULTILINE)


def as_markdown(text: str) -> str:
    """A docstring's text as Markdown: fences around examples, an item for each parameter."""
    listed = PARAMETER.sub(lambda found: f"\n- `{found[1]}`: ", text)
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", listed)


class Docstrings(griffe.Extension):
    """Has mkdocstrings read docstrings as `as_markdown` makes them."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of a function, class or module."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
