"""safetensors files whose headers, metadata and recorded specs lie."""

# ruff: noqa: E501 - a case is one line

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save

from starcli.checkpoints.hashes import weights_sha256
from starcli.checkpoints.metadata import Ancestor, Architecture, Metadata, SpecRecord
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.proof.prove import Proof


def forged(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with this header (JSON, or its bytes), which may lie about its length."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    """What a header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def with_metadata(content: Any) -> bytes:
    """A file of one tensor whose `starcli` metadata is `content`."""
    text = content if isinstance(content, str) else json.dumps(content)
    return forged({"__metadata__": {"starcli": text}, "w": entry()}, bytes(4))


def spec_json(**changes: Any) -> dict[str, Any]:
    """The metadata of a file whose recorded spec has these fields changed."""
    plain = resolve_spec(parse("format: 1\ntensors:\n  w: [a]\n"), {"w": (1,)}).to_json()
    return {"spec": {"resolved": {**plain, **changes}, "sha256": "0"}}


def _big_axes(tensors: int, expression: str, groups: Mapping[str, int], shape: list[int]) -> dict[str, Any]:
    return spec_json(
        groups={name: {"size": size} for name, size in groups.items()},
        tensors={f"t{i}": [expression] * len(shape) for i in range(tensors)},
        shapes={f"t{i}": shape for i in range(tensors)},
    )


def _many(count: int) -> dict[str, Any]:
    return {f"layer.{i}.weight": entry(shape=[0], offsets=[0, 0]) for i in range(count)}


FOUR = bytes(4)
NESTED = "[" * 100_000 + "]" * 100_000

SAFETENSORS: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "length 0": lambda: struct.pack("<Q", 0),
    "length beyond the file": lambda: forged({}, length=2**40),
    "length of all ones": lambda: forged({}, length=2**64 - 1),
    "length one short": lambda: forged({"a": entry()}, FOUR, length=len(json.dumps({"a": entry()})) - 1),
    "header of 100 MB": lambda: forged(b'{"__metadata__":{"a":"' + b"x" * 100_000_000 + b'"}}'),
    "metadata of 7 MB": lambda: forged({"__metadata__": {"a": "x" * 7_000_000}, "w": entry()}, FOUR),
    "header that is no JSON": lambda: forged(b"{'a': 1}"),
    "header that is a list": lambda: forged([1, 2]),
    "header not in UTF-8": lambda: forged(b'{"\xff": 1}'),
    "header of lone surrogates": lambda: forged(b'{"\\ud800": %s}' % json.dumps(entry()).encode(), FOUR),
    "header nested deeply": lambda: forged(b"[" * 4_000_000),
    "header of one long number": lambda: forged(b'{"a": ' + b"9" * 4_000_000 + b"}"),
    "100,000 tensors": lambda: forged(_many(100_000)),
    "20,000 tensors": lambda: forged(_many(20_000)),
    "duplicate names": lambda: forged(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
    "overlapping offsets": lambda: forged({"a": entry(), "b": entry()}, FOUR),
    "a hole": lambda: forged({"a": entry(offsets=[4, 8])}, FOUR * 2),
    "beyond the end": lambda: forged({"a": entry(shape=[2], offsets=[0, 8])}, FOUR),
    "offsets that go back": lambda: forged({"a": entry(offsets=[4, 0])}, FOUR),
    "offsets of 2^64": lambda: forged({"a": entry(shape=[2**62], offsets=[0, 2**64])}, FOUR),
    "data left over": lambda: forged({"a": entry()}, FOUR * 2),
    "huge shape": lambda: forged({"a": entry(shape=[2**40, 2**40])}, FOUR),
    "a product that overflows to fit": lambda: forged({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}),
    "a million dimensions": lambda: forged({"a": entry(shape=[1] * 1_000_000)}, FOUR),
    "many huge dimensions of nothing": lambda: forged({"a": entry(shape=[2**47] * 400_000 + [0], offsets=[0, 0])}),
    "negative shape": lambda: forged({"a": entry(shape=[-1])}, FOUR),
    "boolean shape": lambda: forged({"a": entry(shape=[True])}, FOUR),
    "unknown dtype": lambda: forged({"a": entry(dtype="F31")}, FOUR),
    "dtype that is a list": lambda: forged({"a": entry(dtype=["F32"])}, FOUR),
    "wrong dtype for the size": lambda: forged({"a": entry(dtype="F64")}, FOUR),
    "more fields": lambda: forged({"a": {**entry(), "code": "import os"}}, FOUR),
    "metadata of numbers": lambda: forged({"__metadata__": {"a": 1}}),
    "starcli metadata that is no JSON": lambda: with_metadata("{'a': 1}"),
    "starcli metadata that is a list": lambda: with_metadata([]),
    "starcli metadata nested deeply": lambda: with_metadata('{"recipe": {"a": ' + NESTED + "}}"),
    "starcli metadata nested 900 deep": lambda: with_metadata('{"recipe": {"a": %s}}' % ("[" * 900 + "]" * 900)),
    "starcli metadata of a later format": lambda: with_metadata({"format": 2}),
    "a format of 4,000 digits": lambda: with_metadata('{"format": 1%s}' % ("0" * 4000)),
    "starcli metadata with unknown keys": lambda: with_metadata({"import": "os"}),
    "starcli metadata with a key twice": lambda: with_metadata('{"kind": "model", "kind": "star"}'),
    "starcli metadata of NaN": lambda: with_metadata('{"metrics": {"loss": NaN}}'),
    "starcli metadata of lone surrogates": lambda: with_metadata('{"recipe": {"\\ud800": "\\udfff"}}'),
    "hashes that are no hashes": lambda: with_metadata({"weights_sha256": "../../etc/passwd", "parents": ["x"]}),
    "an ancestor of itself": lambda: with_metadata(
        {"parents": ["a"], "ancestors": [{"sha256": "a", "name": "a", "kind": "model", "parents": ["a"]}]}
    ),
    "ancestors that point anywhere": lambda: with_metadata(
        {"ancestors": [{"sha256": "a", "name": "../../../../etc/shadow", "kind": "model"}]}
    ),
    "100,000 ancestors": lambda: with_metadata(
        {"ancestors": [{"sha256": f"{i}", "name": "x", "kind": "model"} for i in range(100_000)]}
    ),
    "ancestors that double each generation": lambda: with_metadata(
        {"parents": ["0a", "0b"], "ancestors": [
            {"sha256": f"{i}{which}", "name": "x", "kind": "model", "parents": [f"{i + 1}a", f"{i + 1}b"]}
            for i in range(90) for which in "ab"
        ]}
    ),
    "control characters for the terminal": lambda: with_metadata({"\x1b]0;pwned\x07": 1}),
    "spec of wrong types": lambda: with_metadata(spec_json(groups=[])),
    "spec of another format": lambda: with_metadata(spec_json(format=2)),
    "spec with a group within itself": lambda: with_metadata(spec_json(groups={"a": {"size": 1, "within": "a"}})),
    "spec with groups 5,000 deep": lambda: with_metadata(
        spec_json(
            groups={f"g{i}": {"size": 1} | ({"within": f"g{i - 1}"} if i else {}) for i in range(5000)},
            tensors={"w": ["(" + " ".join(f"g{i}" for i in range(3000)) + ")"]},
        )
    ),
    "spec with parentheses 10,000 deep": lambda: with_metadata(spec_json(tensors={"w": ["(" * 9999 + "a" + ")" * 9999]})),
    "spec with a name of 5,000 digits": lambda: with_metadata(
        spec_json(tensors={"w" + "1" * 5000: ["a"]}, shapes={"w" + "1" * 5000: [1]})
    ),
    "spec with a group of 5,000 digits": lambda: with_metadata(
        spec_json(groups={"g" + "1" * 5000: {"size": 1}}, tensors={"w": ["g" + "1" * 5000]})
    ),
    "spec of sizes up to 2^40": lambda: with_metadata(
        spec_json(groups={"a": {"size": 2**40}}, shapes={"w": [2**40]})
    ),
    "spec of nested groups of 2^40": lambda: with_metadata(
        spec_json(groups={"a": {"size": 2**14}, "b": {"size": 2**15, "within": "a"}},
                  tensors={"w": ["(a b)"]}, shapes={"w": [2**29]})
    ),
    "spec with 400,000 dimensions": lambda: with_metadata(
        spec_json(tensors={"w": ["2"] * 400_000}, shapes={"w": [2] * 400_000})
    ),
    "spec with 100,000 dimensions of 2^39": lambda: with_metadata(
        spec_json(tensors={"w": ["549755813888"] * 100_000}, shapes={"w": [2**39] * 100_000})
    ),
    "spec of 20 tensors in 90,000 blocks": lambda: with_metadata(
        _big_axes(20, " + ".join(["a"] * 300), {"a": 1}, [300, 300])
    ),
    "spec of 50 tensors with axes in 6,000 parts": lambda: with_metadata(
        _big_axes(50, " + ".join(["a"] * 6000), {"a": 1}, [6000])
    ),
    "spec with products of sums": lambda: with_metadata(
        _big_axes(20, "(" + " ".join(["(a + a)"] * 16) + ")", {"a": 1}, [2**16])
    ),
    "spec with products of 2,000 sums": lambda: with_metadata(
        _big_axes(1, "(" + " ".join(["(a + a)"] * 2000) + ")", {"a": 1}, [2**40])
    ),
    "spec with 100,000 groups": lambda: with_metadata(
        spec_json(groups={f"g{i}": {"size": 1} for i in range(100_000)},
                  tensors={f"t{i}": [f"g{i}"] for i in range(100_000)},
                  shapes={f"t{i}": [1] for i in range(100_000)})
    ),
    "spec that ties a tensor 100,000 times": lambda: with_metadata(spec_json(tied=[["w"] * 100_000])),
}  # fmt: skip

HARMLESS = {"metadata of 7 MB", "ancestors that point anywhere", "hashes that are no hashes", "20,000 tensors",
            "ancestors that double each generation", "spec with a name of 5,000 digits",
            "spec with a group of 5,000 digits"}  # fmt: skip


def whole_checkpoint() -> bytes:
    """A small file of ours, for cutting and mutating."""
    spec = resolve_spec(parse("format: 1\ntensors:\n  w: [a, b]\n  b: [a]\n"), {"w": (2, 3), "b": (2,)})
    record = SpecRecord(
        resolved=spec.to_json(), sha256=spec.sha256, proof=Proof(0.0, {"a": "proved", "b": "proved"}).to_json()
    )
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    metadata = Metadata(
        architecture=Architecture(name="mlp", arguments={"width": [2]}, input_shape=[3]),
        spec=record,
        recipe={"lr": 0.1, "betas": [0.9, 0.99]},
        ancestors=[Ancestor(sha256="a" * 64, name="0.safetensors", kind="model")],
        weights_sha256=weights_sha256(tensors),
    )
    return save(tensors, {"starcli": metadata.to_text()})


def truncations() -> Iterator[bytes]:
    """A small file of ours cut at every length."""
    content = whole_checkpoint()
    yield from (content[:length] for length in range(len(content)))
