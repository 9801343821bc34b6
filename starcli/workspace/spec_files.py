"""Specs by themselves, without a network: the shipped ones, and the text of one. Nothing here loads torch."""

from pathlib import Path
from typing import Any

from starcli.checkpoints import checkpoint
from starcli.checkpoints.metadata import SpecRecord
from starcli.errors import StarcliError
from starcli.files.shards import INDEX
from starcli.huggingface.directory import directory_of
from starcli.registry.architectures import ARCHITECTURES
from starcli.symmetry.archspec.library import load_spec, shipped_specs, spec_dir, spec_from_stdin
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.derive.to_yaml import to_yaml


def is_checkpoint(given: str) -> bool:
    """Whether the name of a spec is that of a checkpoint."""
    return given.endswith((".safetensors", INDEX)) or directory_of(Path(given)) is not None


def spec_in(given: str) -> SpecRecord:
    """The spec that a checkpoint records. StarcliError where it records none."""
    record = checkpoint.read_metadata(Path(given))[1].spec
    if record is None:
        raise StarcliError(f"{given}: records no spec")
    return record


def list_rows() -> list[dict[str, Any]]:
    """A row for each shipped spec, with the architecture of the same name."""
    return [{"name": name, "architectures": name if name in ARCHITECTURES else None} for name in shipped_specs()]


def text_of(given: str) -> str:
    """A spec as YAML: of a shipped name or a file as written, of a checkpoint as resolved."""
    if is_checkpoint(given):
        return to_yaml(resolved_from_json(spec_in(given).resolved))
    load_spec(given)  # what cannot be read is an error, not shown
    if given == "-":
        return spec_from_stdin()
    path = spec_dir() / f"{given}.yaml" if given in shipped_specs() else Path(given)
    return path.read_text(encoding="utf-8")
