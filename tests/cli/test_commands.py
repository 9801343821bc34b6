"""Commands are thin."""

import ast
from pathlib import Path

from starcli.cli import commands


def test_commands_are_thin() -> None:
    [directory] = map(Path, commands.__path__)
    bodies = 0
    for path in sorted(directory.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("command(" in ast.unparse(d) for d in node.decorator_list):
                body = node.body[1:]  # after the help
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert lines <= 30, f"{path.name}: {node.name} has {lines} lines"
                bodies += 1
    assert bodies > 20
