"""What the site has beside the pages in docs/: the reference of commands and of the library, made from the code itself.

Links of a page to files of the repository, which the site does not have, become their names; those to the record of the
paper's experiments lead to its page.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import starcli
from starcli.cli.reference import markdown_reference

PAPER = Path(__file__).parents[2] / "examples" / "paper"

OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)([^)#]+)(#[^)]*)?\)")
"""A link that leads out of docs/."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of all commands and of all public functions and classes, and that of the paper's experiments."""
    files.append(File.generated(config, "reference/commands.md", content=markdown_reference()))
    files.append(File.generated(config, "reference/library.md", content=library_reference()))
    files.append(File.generated(config, "paper.md", abs_src_path=str(PAPER / "RESULTS.md")))
    for figure in sorted((PAPER / "figures").glob("*.png")):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


def library_reference() -> str:
    """A page that has mkdocstrings put in the docstring of each public name: functions first, then classes."""
    places = {name: f"{getattr(starcli, name).__module__}.{name}" for name in starcli.__all__ if name[0] != "_"}
    functions = [place for name, place in places.items() if name[0].islower()]
    classes = [place for name, place in places.items() if name[0].isupper()]
    parts = ["# The library", INTRODUCTION, "## Functions", *(f"::: {place}" for place in functions)]
    parts += ["## Classes", *(f"::: {place}" for place in classes)]
    settings = (f"::: {place}\n    options: {{ members: false }}" for place in SETTINGS)
    return "\n\n".join([*parts, "## Settings that functions take as keywords", recipe_table(), *settings]) + "\n"


def recipe_table() -> str:
    """The settings of training, which `train`, `find_star`, `fuse` and `curve` take, with the defaults of a recipe."""
    from starcli.recipes.recipe import Recipe

    rows = [f"| `{name}` | `{each.default}` | {each.description} |" for name, each in Recipe.model_fields.items()]
    lines = ["### Settings of training", "", "| field of `Recipe` | default | |", "| --- | --- | --- |", *rows]
    return "\n".join(lines)


SETTINGS = ("starcli.library.merging.MergeKeywords",)
"""What docstrings of functions refer to, and has no public name: a keyword for each field."""


INTRODUCTION = """\
Everything that a command does is a function: the same settings by the same names, the same results. Models may be
files, checkpoints, modules or state dicts; data a name, tensors, or torch data sets and loaders.

```python
import starcli as sc

a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
aligned = sc.align(a, b)
print(sc.barrier(a, aligned).curves["train"].loss_barrier)
```
"""


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Name files of the repository in place of links to them."""

    def named(found: re.Match[str]) -> str:
        words, path = found[1], found[2]
        here = (Path(config["docs_dir"]) / page.file.src_uri).parent
        inside = (here / found[0].rpartition("](")[2].rstrip(")").partition("#")[0]).resolve()
        if inside.is_relative_to(Path(config["docs_dir"]).resolve()):
            return found[0]
        if path == "examples/paper/RESULTS.md":
            return f"[{words}]({'../' * page.file.src_uri.count('/')}paper.md{found[3] or ''})"
        if path.endswith(words.strip("`")):
            return f"`{path}`"
        return words if path.strip("/") in words else f"{words} (`{path}`)"

    return OUTSIDE.sub(named, markdown)


SPECS_OF_MODELS = ("torchvision.md", "timm.md", "transformers.md")
"""Pages with a table of ten columns, the last of which has sentences."""


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Mark the pages whose tables `tables.css` knows by a class."""
    return f'<div class="specs-of-models">{html}</div>' if page.file.src_uri in SPECS_OF_MODELS else html
