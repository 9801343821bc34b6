"""Names of architectures as people type them. Needs no torch."""

import ast
import contextlib
import sys
from importlib.util import find_spec
from pathlib import Path

from starcli.errors import StarcliError, first_of, unknown
from starcli.huggingface.directory import CONFIG, PREFIX, directory_of, why_unknown
from starcli.registry.architectures import ARCHITECTURES

_SHOWN = 8
"""Largest number of a file's functions and classes that an error names."""


def is_external(name: str) -> bool:
    """Whether `name` has the form of an architecture outside the registry.

    >>> is_external("timm:vit_tiny_patch16_224"), is_external("vit")
    (True, False)
    """
    return ":" in name


def is_huggingface(name: str) -> bool:
    """Whether `name` is that of a class of `transformers`, `hf:CLASS`, or of a directory of one, `hf:DIR`."""
    return name.startswith(PREFIX)


def imports_code(name: str) -> bool:
    """Whether to follow `name` is to run code that only the command line may name.

    A class of the installed `transformers`, with a config that is no code, is not that.
    """
    return is_external(name) and not is_huggingface(name)


def recorded_name(typed: str) -> str:
    """Name that checkpoints record for an architecture: what was typed, of a file without its path and suffix.

    >>> recorded_name("code/net.py:build"), recorded_name("resnet")
    ('net:build', 'resnet')
    """
    place, colon, attribute = typed.partition(":")
    return f"{Path(place).stem}:{attribute}" if colon and place.endswith(".py") else typed


def spellings(recorded: str) -> str:
    """How a recorded name may be typed: one without dots may be of a file, whose path is not recorded.

    >>> spellings("net:build"), spellings("timm:resnet10t"), spellings("my.models:build")
    ('net:build, or its file, DIR/net.py:build', 'timm:resnet10t', 'my.models:build')
    """
    place, _, attribute = recorded.partition(":")
    may_be_file = "." not in place and place not in ("torchvision", "timm")
    return f"{recorded}, or its file, DIR/{place}.py:{attribute}" if may_be_file else recorded


def check_architecture_name(typed: str) -> None:
    """Raise StarcliError, with the right spelling, for a name that stands for no architecture, as far as is seen early.

    What a module has, and whether torchvision or timm have a network of a name, is seen when they are imported.
    """
    place, _, attribute = typed.partition(":")
    path = Path(place)
    if is_huggingface(typed):
        _check_directory(typed, attribute)
        return
    if not attribute and path.suffix == ".py" and path.is_file():
        spelled = [f"--arch {path}:{name}" for name in _definitions(path)]
        summary = f"--arch {typed}: which function or class of the file builds the network?"
        raise StarcliError(summary, first_of(spelled, _SHOWN))
    if path.suffix == ".py":
        if not path.is_file():
            raise StarcliError(f"--arch {typed}: there is no file {path}")
    elif not is_external(typed):
        if typed not in ARCHITECTURES:
            raise _unknown(typed)
    elif "/" in place or (path.is_dir() and not attribute):
        raise _no_module(typed, path, attribute)
    elif not _is_found(place.partition(".")[0]):
        raise StarcliError(
            f"--arch {typed}: there is no module {place.partition('.')[0]}",
            ["looked for among what is installed and in the directory that the command runs in"],
        )


def _check_directory(typed: str, place: str) -> None:
    """Refuse `hf:` of what is neither the name of a class nor a directory with the config of a network."""
    path = Path(place)
    if not path.is_dir() and not place.isidentifier():
        raise StarcliError(f"--arch {typed}: there is no directory {place}, with {CONFIG} in it")
    if path.is_dir() and directory_of(path) is None:
        raise StarcliError(f"--arch {typed}: no network is known by {path / CONFIG}", why_unknown(path))


def _unknown(typed: str) -> StarcliError:
    """Error for a name without a colon that the registry does not have."""
    if Path(typed).is_dir():
        return _no_module(typed, Path(typed), "")
    error = unknown("architecture", typed, ARCHITECTURES)
    if "." in typed or "/" in typed:
        return StarcliError(error.summary, ["one of your own is --arch package.module:NAME or --arch FILE.py:NAME"])
    return StarcliError(
        error.summary, ["of libraries they are timm:NAME and torchvision:NAME, of your own FILE.py:NAME"]
    )


def _no_module(typed: str, path: Path, attribute: str) -> StarcliError:
    """Error for a path that is no Python file."""
    name = attribute or "NAME"
    if path.is_dir():
        files = [each.name for each in sorted(path.glob("*.py")) if each.name != "__init__.py"] or ["FILE.py"]
        spelled = [f"--arch {path}/{file}:{name}" for file in files]
        return StarcliError(f"--arch {typed}: {path} is a directory, not a network", first_of(spelled, _SHOWN))
    suffixed = path.with_name(path.name + ".py")
    spelled = [f"--arch {suffixed if suffixed.is_file() else 'FILE.py'}:{name}"]
    return StarcliError(f"--arch {typed}: {path} is no module and no Python file", spelled)


def _definitions(path: Path) -> list[str]:
    """Names of the functions and classes that a file defines, without running it."""
    with contextlib.suppress(OSError, ValueError, SyntaxError):
        tree = ast.parse(path.read_bytes())
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
        return names or ["NAME"]
    return ["NAME"]


def _is_found(root: str) -> bool:
    """Whether a package or module is loaded, installed or in the working directory; it is not imported."""
    here = Path.cwd()
    if root in sys.modules or (here / f"{root}.py").is_file() or (here / root).is_dir():
        return True
    with contextlib.suppress(ValueError):  # an empty name
        return find_spec(root) is not None
    return False
