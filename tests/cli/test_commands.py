"""Commands are thin and do not import each other."""

from starcli.cli.commands import train as train_module


def test_commands_are_thin():
    import ast
    import inspect
    from pathlib import Path

    directory = Path(inspect.getfile(train_module)).parent
    for path in sorted(directory.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any("command(" in ast.unparse(d) for d in node.decorator_list):
                body = node.body[1:]  # after the help
                lines = body[-1].end_lineno - body[0].lineno + 1
                assert lines <= 30, f"{path.name}: {node.name} has {lines} lines"


def test_commands_do_not_import_each_other():
    import ast
    import inspect
    from pathlib import Path

    directory = Path(inspect.getfile(train_module)).parent
    commands = sorted(path.stem for path in directory.glob("*.py") if path.stem != "__init__")
    assert {"train", "predict", "spec"} <= set(commands)
    for name in commands:
        tree = ast.parse((directory / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("starcli.cli"):
                assert node.module.rpartition(".")[2] not in commands, f"{name} imports {node.module}"
