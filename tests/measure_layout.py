"""Figures of the layout: rooms, arrows, circles, lines, the longest function, public names that mean several things.

    python tests/measure_layout.py [DIRECTORY]

A room is a folder or a file directly below the package, an arrow an import from one room to another (also within
functions and for types), a circle a set of rooms, or of files, that import each other. DIRECTORY holds the package
`starcli` (default: this clone), so that two states can be compared.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of what is imported: `from a import b` as both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Sets of more than one node that all reach each other."""
    reach = {node: set(targets) for node, targets in arrows.items()}
    for middle in arrows:
        for node in arrows:
            if middle in reach[node]:
                reach[node] |= reach.get(middle, set())
    found = {tuple(sorted(b for b in arrows if b in reach[a] and a in reach[b])) for a in arrows}
    return [list(each) for each in sorted(found) if len(each) > 1]


def public_names(tree: ast.Module) -> Iterator[str]:
    """Functions, classes and variables of a module whose names do not begin with an underscore."""
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        yield from (name for name in names if not name.startswith("_"))


def measure(root: Path) -> dict[str, object]:
    """All figures of the package `starcli` in `root`."""
    package = root / "starcli"
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    modules = {}
    for path in trees:
        parts = ("starcli", *path.relative_to(package).with_suffix("").parts)
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    files: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in modules.items():
        for name in imported(trees[path]):
            if name in modules and name not in (module, "starcli"):
                files[module].add(name)
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, targets in files.items():
        here = module.split(".")[1:2] or ["__init__"]
        rooms[here[0]] |= {target.split(".")[1] for target in targets} - {here[0]}
    names: dict[str, set[Path]] = defaultdict(set)
    functions = []
    for path, tree in trees.items():
        for name in public_names(tree):
            names[name].add(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, f"{path.name}:{node.name}"))
    return {
        "rooms": len(rooms),
        "arrows": sum(map(len, rooms.values())),
        "circles of rooms": circles(rooms),
        "circles of files": circles(files),
        "modules at the root": sorted(path.stem for path in package.glob("*.py")),
        "names defined in several modules": sorted(name for name, places in names.items() if len(places) > 1),
        "longest function": max(functions),
        "median function": sorted(functions)[len(functions) // 2][0],
        "lines of the package": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in trees),
        "lines of the tests": sum(
            len(path.read_text(encoding="utf-8").splitlines()) for path in (root / "tests").rglob("*.py")
        ),
    }


if __name__ == "__main__":
    for what, found in measure(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[1]).items():
        print(f"{what}: {found if not isinstance(found, list) else f'{len(found)} {found}'}")
