"""The lines of the layout: who may import whom, who may write, and what `--help` may cost."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from measure_layout import imported
from support.program import ROOT

import starcli

PACKAGE = Path(starcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

HEAVY = {"torch", "torchvision", "numpy", "scipy", "pydantic", "matplotlib", "safetensors", "yaml"}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(path: Path) -> set[str]:
    return set(imported(ast.parse(path.read_text())))


def top_level(tree: ast.Module) -> Iterator[str]:
    """What importing the module imports: not what stands in functions or under TYPE_CHECKING."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)


def test_only_the_command_line_knows_its_framework() -> None:
    others = {name_of(path): imports(path) for path in MODULES if "cli" not in path.relative_to(PACKAGE).parts}
    heads = {name: {each.split(".")[0] for each in found} for name, found in others.items()}
    assert not [name for name, found in heads.items() if found & {"typer", "rich", "click"}]
    above = {name for name, found in others.items() if any(each.startswith("starcli.cli") for each in found)}
    assert above <= {"__main__.py"}


COMMANDS = {path.stem for path in (PACKAGE / "cli").rglob("*.py") if "@command(" in path.read_text()}


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").rglob("*.py")), ids=name_of)
def test_commands_are_light_and_do_not_import_each_other(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not {name.split(".")[0] for name in top_level(tree)} & HEAVY
    if path.stem in COMMANDS:
        others = {f"starcli.cli.commands.{command}" for command in COMMANDS - {path.stem}}
        assert not others & set(imported(tree))


WRITING = re.compile(r"\.write_(bytes|text)\(|\.open\(\s*['\"][wax]|open\([^)]*['\"][wax]b?\+?['\"]|\.mkdir\(")


def test_only_files_writes() -> None:
    others = [path for path in MODULES if path.parent.name != "files"]
    assert not [name_of(path) for path in others if WRITING.search(path.read_text())], "only starcli/files/ writes"


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
sys.argv = ["starcli", "barrier", "--help"]
from starcli.cli.main import main
try:
    main()
except SystemExit:
    pass
print("HEAVY", sorted(set(sys.modules) & {HEAVY!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="run outside a clone")
def test_what_needs_posix_declares_it() -> None:
    """Locks are flocks, from a module that there is on no other system."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert "Operating System :: POSIX" in declared


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="run outside a clone")
def test_readme_has_the_two_lines_that_are_run() -> None:
    readme = (ROOT / "README.md").read_text()
    assert (
        "\n    python3 -m venv .venv && . .venv/bin/activate && pip install . && bash examples/quickstart.sh\n"
        in readme
    )
    assert "\n    pip install '.[test]' && pytest\n" in readme
