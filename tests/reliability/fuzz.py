"""Mutated files against every reader: 100,000 cases each, from a fixed seed, in one process that must survive them."""

# ruff: noqa: E501 - a case is one line

import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from starcli import archspec, checkpoint, converting, tensorfile
from starcli.archspec import Resolved
from starcli.data.arrays import read_npz
from starcli.data.idx import read_idx
from starcli.data.streaming import decode_image
from starcli.errors import StarcliError
from starcli.training import recipe

from . import hostile

TOKENS = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"(", b")", b"+", b"|", b"_", b"*", b".", b"-1", b"0", b"1", b"9" * 20,
          b"null", b"true", b"NaN", b"1e999", b"\\ud800", b"\0", b"\n", b" ", b"\xff", b"{l}", b"{0:9}", b"{l-1}", b"!!x",
          b"&a", b"*a", b"within", b"size", b"F32", b"F64", b"I64", b"data_offsets", b"shape", b"spec", b"groups")  # fmt: skip


def mutated(seeds: list[bytes], draws: random.Random) -> bytes:
    """One of the seeds with a few bytes changed, cut, doubled, or words of the formats put in."""
    content = bytearray(draws.choice(seeds))
    for _ in range(draws.choice((1, 1, 1, 2, 3, 6))):
        at = draws.randrange(len(content) + 1)
        match draws.randrange(6):
            case 0 if at < len(content):
                content[at] ^= 1 << draws.randrange(8)
            case 1 if at < len(content):
                content[at] = draws.randrange(256)
            case 2:
                content[at:at] = draws.choice(TOKENS)
            case 3:
                del content[at : at + draws.choice((1, 2, 8, 64))]
            case 4:
                end = at + draws.randrange(1, 40)
                content[at:at] = content[at:end] * draws.choice((1, 2, 9))
            case 5:
                other = draws.choice(seeds)
                begin = draws.randrange(len(other) + 1)
                content[at : at + 20] = other[begin : begin + 20]
    return bytes(content)


@dataclass(frozen=True)
class Target:
    """A reader and the sound inputs that its cases are made from; `on_file`: it reads a path, else bytes."""

    name: str
    seeds: list[bytes]
    read: Callable[[Path], object] | Callable[[bytes], object]
    suffix: str = ""


def _metadata(content: bytes) -> None:
    found = checkpoint.parse_metadata(content.decode("utf-8", "replace"), "x")
    found.to_text()
    if found.spec is not None:
        resolved = Resolved.from_json(found.spec.resolved)
        _ = resolved.blocks, resolved.sha256


def _spec(content: bytes) -> None:
    _ = archspec.parse(content.decode("utf-8", "replace"), "x").resolve(hostile.SHAPES, {"depth": 3}).blocks


def _axis(content: bytes) -> None:
    from starcli.archspec.parsing import GrammarError, parse_axis

    try:
        parse_axis(content.decode("utf-8", "replace"))
    except GrammarError as error:
        error.lines("x")


def _permutation_file() -> bytes:
    from safetensors.torch import save

    spec = archspec.parse("format: 1\ntensors:\n  w: [a, b]\n").resolve({"w": (4, 6)})
    record = checkpoint.SpecRecord(resolved=spec.to_json(), sha256=spec.sha256)
    metadata = checkpoint.Metadata(kind="permutation", spec=record)
    return save({"a": torch.arange(4), "b": torch.arange(6)}, {"starcli": metadata.to_text()})


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def targets() -> Iterator[Target]:
    """All readers of files."""
    whole = hostile.whole_checkpoint()
    text = tensorfile._header_of(io.BytesIO(whole), len(whole), "x").metadata["starcli"].encode()
    spec = (
        b"format: 1\ngroups:\n  a.{l}: {size: 16}\n  b.{l}: {within: a.{l}}\ntensors:\n  layer.{l}.weight: [a.{l}, _]\n"
        b"  layer.{l}.bias: [a.{l}]\n  head.{l}.*: ['(c.{l} 4)']\nbuffers: ['*.x']\ntied: [[a, b]]\n"
    )
    npz = io.BytesIO()
    np.savez(npz, x=np.zeros((10, 3, 3), np.uint8), y=np.arange(10) % 2)
    packed = io.BytesIO()
    np.savez_compressed(packed, x=np.zeros((10, 3, 3), np.uint8), y=np.arange(10) % 2)
    yield Target(
        "safetensors",
        [whole, hostile.forged({"a": hostile.entry()}, bytes(4))],
        hostile.read_checkpoint,
        ".safetensors",
    )
    yield Target("metadata", [text, b"{}"], _metadata)
    yield Target("archspec", [spec], _spec)
    yield Target("axis expression", [b"(a.{l} 4) + _ | g.{0:l}", b"(head (qk + qk + vo))"], _axis)
    yield Target(
        "recipe",
        [b"epochs: 3\nlr: 5e-4\nbetas: [0.9, 0.99]\nmilestones: [1, 2]\naugmentation: [flip]\n"],
        _recipe,
        ".yaml",
    )
    yield Target("permutation", [_permutation_file()], hostile.read_permutation, ".safetensors")
    yield Target(
        "PyTorch file", [_saved({"a": torch.zeros(2)}), _legacy({"a": torch.zeros(2)})], converting.read_any, ".pt"
    )
    yield Target(
        "state", [_saved({"run_id": "a run", "state": {"x": torch.zeros(2), "y": [1]}})], hostile.read_state, ".state"
    )
    yield Target("npz", [npz.getvalue(), packed.getvalue()], read_npz, ".npz")
    yield Target("idx", [hostile._idx(3, (10, 4, 4), bytes(160))], lambda path: read_idx(path, 3), ".idx")
    yield Target(
        "image", [hostile._good_image(form) for form in ("PNG", "JPEG", "BMP", "WEBP", "TIFF")], _image, ".png"
    )


def _recipe(path: Path) -> None:
    recipe._validated(recipe._mapping(path), "x")


def _image(path: Path) -> None:
    decode_image(path, 8)


def _legacy(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def run(target: Target, count: int, place: Path, seed: int = 0) -> list[str]:
    """`count` cases; what went wrong, each with the number of its case and the bytes that did it kept in `place`."""
    draws, defects = random.Random(f"{target.name} {seed}"), []
    path = place / f"case{target.suffix}"
    for number in range(count):
        content = mutated(target.seeds, draws)
        if target.suffix:
            path.write_bytes(content)
        began = time.process_time()
        try:
            target.read(path if target.suffix else content)  # type: ignore[arg-type]
        except StarcliError:
            pass
        except Exception as error:
            defects.append(f"case {number}: {type(error).__name__}: {error}"[:300])
            (place / f"found-{target.name.replace(' ', '-')}-{number}").write_bytes(content)
        if time.process_time() - began > 2:
            defects.append(f"case {number}: took {time.process_time() - began:.1f} s")
        if len(defects) >= 20:
            break
    return defects
