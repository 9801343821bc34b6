"""Specs by name or path: the shipped ones in archspecs/, files, and stdin."""

import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO

from starcli.errors import StarcliError, unknown
from starcli.files.formats import other_kind
from starcli.files.yaml_values import LARGEST_YAML
from starcli.symmetry.archspec.spec import Spec, parse

_KINDS = {
    b"PK\x03\x04": "an archive as .npz, .pt or .zip",
    b"\x1f\x8b": "compressed (gzip)",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


def spec_dir() -> Path:
    """The directory of the shipped specs.

    It lies in the package of a wheel, beside it in a clone, sdist or editable install. StarcliError where it is
    missing.
    """
    package = Path(__file__).resolve().parents[2]
    for directory in (package / "archspecs", package.parent / "archspecs"):
        if directory.is_dir():
            return directory
    raise StarcliError("the shipped specs (archspecs/) are missing from this installation")


def shipped_specs() -> list[str]:
    """Names of the shipped specs, sorted.

    >>> "vit" in shipped_specs()
    True
    """
    return sorted(path.stem for path in spec_dir().glob("*.yaml"))


def load_spec(path: Path | str) -> Spec:
    """Read the spec in a file, or the shipped one of that name, or the one on stdin (`-`).

    A name is a word without a suffix that is no file here. StarcliError where the file cannot be read, or is no spec:
    with line, expression and a caret for all that is wrong in it.

    >>> load_spec("mlp").source
    'mlp.yaml'
    """
    if str(path) == "-":
        return parse(spec_from_stdin(), "stdin")
    file = Path(path)
    if isinstance(path, str) and not file.suffix and file.name == path and not file.is_file():
        return _shipped(path)
    return parse(_text(file), str(path))


@lru_cache(maxsize=64)
def _shipped(name: str) -> Spec:
    if name not in shipped_specs():
        raise unknown("spec", name, shipped_specs())
    return parse(_text(spec_dir() / f"{name}.yaml"), f"{name}.yaml")


@cache
def spec_from_stdin() -> str:
    """The text on stdin, kept, since it can be read only once; at most a few megabytes are ever read."""
    return _decoded(sys.stdin.buffer, "stdin")


def _text(file: Path) -> str:
    """The whole file; at most a few megabytes are ever read."""
    try:
        with file.open("rb") as stream:
            return _decoded(stream, str(file))
    except OSError as error:
        raise StarcliError(f"{file}: {error.strerror or error}") from None


def _decoded(stream: BinaryIO, source: str) -> str:
    content = stream.read(4 * LARGEST_YAML + 1)
    try:
        return content.decode()
    except UnicodeDecodeError:
        hint = [f"starcli spec show {source} prints the one that it records"] if source.endswith(".safetensors") else []
        raise StarcliError(f"{source}: is {_kind(content)}, and a spec is YAML in UTF-8", hint) from None


def _kind(content: bytes) -> str:
    r"""What a file that is no text in UTF-8 is, by its first bytes.

    >>> _kind(b"PK\x03\x04..."), _kind(b"\x93NUMPY")
    ('an archive as .npz, .pt or .zip', 'no text')
    """
    known = next((kind for begin, kind in _KINDS.items() if content.startswith(begin)), None)
    return known or other_kind(content[:8]) or ("a safetensors file" if content[8:9] == b"{" else "no text")
