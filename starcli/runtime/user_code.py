"""Code of the user's own, named as `package.module:NAME` or `FILE.py:NAME` on the command line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from starcli.errors import StarcliError, suggestion
from starcli.runtime.blame import raised_at

LIBRARIES = ("torch", "torchvision", "timm", "transformers")
"""Libraries whose version stands for their code."""


def user_callable(place: str, attribute: str, what: str) -> Callable[..., Any]:
    """A function or class of a module of the user's own, or of a file FILE.py; `what` it is for, in a word.

    Raises StarcliError, with the line at fault, for what cannot be imported. Only the command line and callers of the
    library name code, no file does.
    """
    try:
        module = _module_of_file(Path(place).resolve()) if place.endswith(".py") else _module(place)
    except StarcliError:
        raise
    except Exception as error:  # the module is the user's code and may raise anything
        problems = [exception_words(error), *raised_at(error)]
        if isinstance(error, ModuleNotFoundError) and error.name == place.partition(".")[0]:
            problems.append("looked for among what is installed and in the directory that the command runs in")
        raise StarcliError(f"{what} {place}:{attribute} cannot be imported", problems) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise StarcliError(f"module {place} has no callable {attribute!r}{suggestion(attribute, known)}")
    return function  # type: ignore[no-any-return]


@contextmanager
def user_code_explained(summary: str) -> Iterator[None]:
    """Context in which the user's own code runs, which may raise anything: it becomes a StarcliError with the line."""
    try:
        yield
    except StarcliError:
        raise
    except Exception as error:
        raise StarcliError(summary, [exception_words(error), *raised_at(error)]) from error


def _module(name: str) -> ModuleType:
    """Module by name, looked for in the working directory too."""
    _make_importable(Path.cwd())
    return import_module(name)


_of_files: set[str] = set()
"""Names of the modules that `_module_of_file` loaded."""


def _module_of_file(path: Path) -> ModuleType:
    """Module of a file, loaded under the name of the file, which its directory may import as usual."""
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path:
        return known
    if name in (*LIBRARIES, *sys.stdlib_module_names) or (known is not None and name not in _of_files):
        raise StarcliError(f"{path.name}: another module has the name {name}; give the file another one")
    _make_importable(path.parent)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _of_files.add(name)
    return module


def _make_importable(directory: Path) -> None:
    """Let modules in `directory` be imported: last, so that they hide nothing that is installed."""
    if str(directory) not in sys.path:
        sys.path.append(str(directory))


def exception_words(error: Exception) -> str:
    """Type and message of an exception."""
    return f"{type(error).__name__}: {error}"
