"""Papers and code say the same: commands, links, versions, names, and what pages on the code point at."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from support.program import ROOT, run_here

import starcli
from starcli.cli.main import app

PACKAGE = Path(starcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part in ("runs", "build", "dist") or part.startswith(".") for part in path.relative_to(ROOT).parts)
]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CONTRACTS = ROOT / "docs" / "contracts.md"
ROOT_MODULES = {"__init__", "__main__", "errors", "version"}
FOUNDATIONS = {"errors", "registry", "runtime", "files"}

if not ARCHITECTURE.exists():
    pytest.skip("run outside a clone", allow_module_level=True)


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words and the function of every command that is registered, those of groups too."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, *before, name)
        else:
            yield (*before, name), found.callback


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_help_page_ends_with_two_examples_and_where_there_is_more(words: tuple[str, ...]) -> None:
    first, second = COMMANDS[words].examples
    help_page = run_here(*words, "--help").out
    for example in (first, second):
        assert example.split()[: len(words) + 1] == ["starcli", *words]
        options = {word for word in example.split() if word.startswith("--")}
        assert options <= set(re.findall(r"--[a-z-]+", help_page)), "an option that is not there"
    see = COMMANDS[words].see
    assert help_page.endswith(f"Examples\n  {first}\n  {second}\n\nMore  {see}\n")
    assert leads_somewhere(ROOT / "README.md", see)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_readme_and_the_contracts_have_every_command(words: tuple[str, ...]) -> None:
    name = " ".join(words)
    assert re.search(rf"`?starcli {re.escape(name)}\b", (ROOT / "README.md").read_text()), f"README.md lacks {name}"
    assert re.search(rf"`{re.escape(name)}`|\| {re.escape(name)} \|", CONTRACTS.read_text())


# -- links and versions ------------------------------------------------------------------------------------------------


def without_code(text: str) -> str:
    """Markdown without its code, where brackets are no links."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`: the headings, in lower case, blanks as dashes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether there is what a link on a page names; the site makes pages of commands and library."""
    name, _, anchor = target.partition("#")
    found = page.parent / name if name else page
    if name.endswith(("reference/commands.md", "reference/library.md")):
        return True
    return found.exists() and (not anchor or anchor in anchors(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))
    assert [each for each in targets if not re.match(r"[a-z]+:", each) and not leads_somewhere(page, each)] == []


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == starcli.__version__
    assert re.search(
        rf"^## \[{re.escape(starcli.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE
    )


# -- names and places --------------------------------------------------------------------------------------------------


def defined(tree: ast.Module) -> Iterator[str]:
    """Names of the functions, classes and values that a module defines at its top."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.Assign(targets):
                yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
            case ast.AnnAssign(ast.Name(name)):
                yield name


def test_a_public_name_is_defined_in_one_module() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for name in {name for name in defined(ast.parse(path.read_text())) if not name.startswith("_")}:
            places[name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_root_has_few_modules() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT_MODULES


def test_code_is_not_in_init() -> None:
    full = []
    for path in sorted(PACKAGE.rglob("*/__init__.py")):
        body = ast.parse(path.read_text()).body
        if body[1:] or (body and not (isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant))):
            full.append(str(path.relative_to(PACKAGE)))
    assert full == []


def test_a_folders_docstring_names_files_that_it_has() -> None:
    missing = []
    for path in sorted(PACKAGE.rglob("__init__.py")):
        for word in re.findall(r"[\w/]+\.py\b", ast.get_docstring(ast.parse(path.read_text())) or ""):
            if not [*path.parent.rglob(word), *PACKAGE.glob(word)]:
                missing.append(f"{path.relative_to(PACKAGE)}: {word}")
    assert missing == []


def test_a_large_folders_docstring_says_what_its_files_are() -> None:
    silent = []
    for path in sorted(PACKAGE.rglob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        if len([*path.parent.glob("*.py")]) > 8 and not re.search(r"\w\.py\b|\bfile each\b|\ba file\b", text):
            silent.append(str(path.relative_to(PACKAGE)))
    assert silent == []


# -- what pages on the code point at -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["architecture", "contracts", "specs", "numerics"])
def test_a_page_on_the_code_names_what_there_is(page: str) -> None:
    """`path.py:name` is defined in that file, and every other path in backticks is there."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    missing = []
    for word in re.findall(r"`([\w./-]+(?:\.py|\.sh|/)(?::\w+)?)`", text):
        path, _, name = word.partition(":")
        if path.startswith(("*", ".")):  # `*/cached.py`; hidden files of a run
            continue
        places = [place / path for place in (PACKAGE, ROOT) if (place / path).exists()]
        places += [] if "/" in path.rstrip("/") else [*PACKAGE.rglob(path)]
        if not places or (name and name not in set(defined(ast.parse(places[0].read_text())))):
            missing.append(word)
    assert missing == []


def test_contributing_names_files_that_are_there_or_that_its_reader_makes() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:starcli|tests|archspecs|docs)/[\w./-]+\.\w+)`", text)
    missing = {Path(word).stem for word in named if not (ROOT / word).exists()}
    assert missing == {"norm", "test_norm", "bottleneck", "stripes", "norms_figure"}


def imported() -> Mapping[str, set[str]]:
    """For every folder (or module) of the package those that it imports, not counting imports for annotations."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        where = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
        skipped = {id(each) for node in guarded for inner in node.body for each in ast.walk(inner)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
                names = [f"{node.module}.{alias.name}".split(".") for alias in node.names]
                found[where] |= {name[1] for name in names if name[0] == "starcli" and name[1] != where}
    return found


def test_the_drawing_shows_the_folders_and_no_import_that_is_not_there() -> None:
    [drawing] = re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE.read_text(), flags=re.DOTALL)
    arrows = re.findall(r"^ +(\w+) --> (\w+)$", drawing, flags=re.MULTILINE)
    assert len(arrows) == len(drawing.strip().splitlines()) - 1
    there = imported()
    assert [f"{a} --> {b}" for a, b in arrows if b not in there[a]] == []
    assert {name for arrow in arrows for name in arrow} == FOLDERS - FOUNDATIONS
