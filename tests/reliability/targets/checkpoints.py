"""Checkpoints, specs, permutations, states, and data of arrays and images."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from starcli.checkpoints import checkpoint
from starcli.checkpoints.metadata import Metadata, SpecRecord, parse_metadata
from starcli.data.encoded_images import decode_image
from starcli.data.idx import read_idx
from starcli.files import safetensors
from starcli.recipes import recipe
from starcli.symmetry.archspec.parse_expression import GrammarError, parse_axis
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.archspec.validate import resolved_from_json

from ..hostile import arrays, checkpoints, images, permutations, pickles, readers
from .target import Target

# -- readers of bytes --------------------------------------------------------------------------------------------------


def _metadata(content: bytes) -> None:
    found = parse_metadata(content.decode("utf-8", "replace"), "x")
    found.to_text()
    if found.spec is not None:
        resolved = resolved_from_json(found.spec.resolved)
        _ = resolved.blocks, resolved.sha256


def _spec(content: bytes) -> None:
    _ = resolve_spec(parse(content.decode("utf-8", "replace"), "x"), readers.SHAPES, {"depth": 3}).blocks


def _axis(content: bytes) -> None:
    try:
        parse_axis(content.decode("utf-8", "replace"))
    except GrammarError as error:
        error.lines("x")


def _header(path: Path) -> None:
    """A header that is as long as it says, so that what stands in it is reached."""
    path.write_bytes(checkpoints.forged(path.read_bytes(), checkpoints.FOUR))
    readers.read_checkpoint(path)


def _pickle(path: Path) -> None:
    """A pickle in a sound archive, so that no sum fails before it is read."""
    path.write_bytes(pickles.torch_zip(path.read_bytes()))
    checkpoint.read(path)


def _recipe(path: Path) -> None:
    recipe._validated(recipe._mapping(path), "x")


def _idx(path: Path) -> None:
    read_idx(path, 3)


def _image(path: Path) -> None:
    decode_image(path, 8)


# -- sound inputs ------------------------------------------------------------------------------------------------------


def _permutation_file() -> bytes:
    spec = resolve_spec(parse("format: 1\ntensors:\n  w: [a, b]\n"), {"w": (4, 6)})
    record = SpecRecord(resolved=spec.to_json(), sha256=spec.sha256)
    metadata = Metadata(kind="permutation", spec=record)
    return save({"a": torch.arange(4), "b": torch.arange(6)}, {"starcli": metadata.to_text()})


def _legacy(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _npz(*, packed: bool) -> bytes:
    buffer = io.BytesIO()
    write = np.savez_compressed if packed else np.savez
    write(buffer, x=np.zeros((10, 3, 3), np.uint8), y=np.arange(10) % 2)
    return buffer.getvalue()


ARCHSPEC = (
    b"format: 1\ngroups:\n  a.{l}: {size: 16}\n  b.{l}: {within: a.{l}}\ntensors:\n  layer.{l}.weight: [a.{l}, _]\n"
    b"  layer.{l}.bias: [a.{l}]\n  head.{l}.*: ['(c.{l} 4)']\nbuffers: ['*.x']\ntied: [[a, b]]\n"
)
RECIPE = b"epochs: 3\nlr: 5e-4\nbetas: [0.9, 0.99]\nmilestones: [1, 2]\naugmentation: [flip]\n"
AXES = (b"(a.{l} 4) + _ | g.{0:l}", b"(head (qk + qk + vo))")


def targets() -> Iterator[Target]:
    """Their readers."""
    whole = checkpoints.whole_checkpoint()
    header = safetensors._header_of(io.BytesIO(whole), len(whole), "x")
    small = checkpoints.forged({"a": checkpoints.entry()}, bytes(4))
    scans = arrays.idx(3, (10, 4, 4), bytes(160))
    state = {"run_id": "a run", "state": {"x": torch.zeros(2), "y": [1]}}
    pair = {"x": torch.zeros(10, 4), "y": torch.arange(10) % 2}
    weights = {"a": torch.zeros(2)}
    pickled = pickles.saved(weights)
    yield Target("safetensors", [whole, small], readers.read_checkpoint, ".safetensors")
    yield Target("safetensors header", [whole[8 : header.data_begin], small[8:-4]], _header, ".safetensors")
    yield Target("metadata", [header.metadata["starcli"].encode(), b"{}"], _metadata)
    yield Target("archspec", [ARCHSPEC], _spec)
    yield Target("axis expression", list(AXES), _axis)
    yield Target("recipe", [RECIPE], _recipe, ".yaml")
    found = [_permutation_file(), permutations.element()]
    yield Target("permutation", found, readers.read_permutation_file, ".safetensors")
    yield Target("PyTorch file", [pickled, _legacy(weights)], checkpoint.read, ".pt")
    yield Target("pickle", [pickles.member(pickled, "data.pkl")], _pickle, ".pt")
    yield Target("state", [pickles.saved(state)], readers.read_state, ".state")
    yield Target("npz", [_npz(packed=False), _npz(packed=True)], readers.read_data, ".npz")
    yield Target("arrays in safetensors", [save(pair)], readers.read_data, ".safetensors")
    yield Target("idx", [scans], _idx, ".idx")
    yield Target("idx, gzipped", [gzip.compress(scans, mtime=0)], _idx, ".gz")
    forms = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
    yield Target("image", [images.good_image(form) for form in forms], _image, ".png")
