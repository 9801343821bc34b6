"""Files that a stranger might send, by what reads them; each is made when its trial needs it."""

# ruff: noqa: E501 - a case is one line

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from starcli import archspec, checkpoint, converting, files, lineage, permuting, tensorfile
from starcli.archspec import Resolved
from starcli.data import open_data
from starcli.errors import StarcliError
from starcli.proof import Proof
from starcli.training import recipe

MARKER = "executed"
"""A payload that runs would leave a file of this name beside the hostile one."""

SHAPES = {f"{part}.{i}.{kind}": shape for i in range(20) for part in ("layer", "head")
          for kind, shape in (("weight", (16, 16)), ("bias", (16,)))}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A hostile file: `make` writes it into a directory and returns its path; `read` is what must withstand it."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    harmless: bool = False
    """Whether reading it may also succeed: the content is odd, and none the worse for it."""


# -- readers -----------------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> None:
    """Everything that is done with a stranger's checkpoint before a network is built."""
    found = checkpoint.read(path, kinds=("model", "star", "fused", "permutation"))
    _ = found.sha256
    if found.metadata.spec is not None:
        resolved = Resolved.from_json(found.metadata.spec.resolved)
        _ = resolved.blocks, resolved.sha256, resolved.log10_symmetries(), resolved.movable()
        if found.metadata.spec.proof is not None:
            Proof.from_json(found.metadata.spec.proof)
    found.metadata.to_text()
    lineage.describe(path, verify=True).to_json()


def read_spec(path: Path) -> None:
    _ = archspec.load(path).resolve(SHAPES, {"depth": 20}).blocks


def read_permutation(path: Path) -> None:
    spec = archspec.parse("format: 1\ntensors:\n  w: [a, b]\n").resolve({"w": (4, 6)})
    permutation, _ = permuting.read_permutation(path, spec)
    permutation.inverse().apply({"w": torch.zeros(4, 6)})


def read_state(path: Path) -> None:
    files.StateFile(path.with_name(path.name.removesuffix(".state")), "a run").load()


def read_data(path: Path) -> None:
    prefix = {".d": "idx:", ".f": "folder:"}.get(path.suffix, "")
    found = open_data(prefix + str(path))
    for split in (found.train, found.test):
        for _ in split.batches(8, order=torch.arange(min(8, len(split)))):
            pass


# -- safetensors -------------------------------------------------------------------------------------------------------


def forged(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with this header (JSON, or its bytes), which may lie about its length."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def with_metadata(content: Any) -> bytes:
    """A file of one tensor whose `starcli` metadata is `content`."""
    text = content if isinstance(content, str) else json.dumps(content)
    return forged({"__metadata__": {"starcli": text}, "w": entry()}, bytes(4))


def spec_json(**changes: Any) -> dict[str, Any]:
    """The metadata of a file whose recorded spec has these fields changed."""
    plain = archspec.parse("format: 1\ntensors:\n  w: [a]\n").resolve({"w": (1,)}).to_json()
    return {"spec": {"resolved": {**plain, **changes}, "sha256": "0"}}


def _big_axes(tensors: int, expression: str, groups: Mapping[str, int], shape: list[int]) -> dict[str, Any]:
    return spec_json(
        groups={name: {"size": size} for name, size in groups.items()},
        tensors={f"t{i}": [expression] * len(shape) for i in range(tensors)},
        shapes={f"t{i}": shape for i in range(tensors)},
    )


FOUR = bytes(4)
NESTED = "[" * 100_000 + "]" * 100_000
MANY = {f"layer.{i}.weight": entry(shape=[0], offsets=[0, 0]) for i in range(100_000)}

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
    "100,000 tensors": lambda: forged(MANY),
    "20,000 tensors": lambda: forged(dict(list(MANY.items())[:20_000])),
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
    from safetensors.torch import save

    spec = archspec.parse("format: 1\ntensors:\n  w: [a, b]\n  b: [a]\n").resolve({"w": (2, 3), "b": (2,)})
    record = checkpoint.SpecRecord(
        resolved=spec.to_json(), sha256=spec.sha256, proof=Proof(0.0, {"a": "proved", "b": "proved"}).to_json()
    )
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    metadata = checkpoint.Metadata(
        architecture=checkpoint.Architecture(name="mlp", arguments={"width": [2]}, input_shape=[3]),
        spec=record,
        recipe={"lr": 0.1, "betas": [0.9, 0.99]},
        ancestors=[checkpoint.Ancestor(sha256="a" * 64, name="0.safetensors", kind="model")],
        weights_sha256=checkpoint.weights_sha256(tensors),
    )
    return save(tensors, {"starcli": metadata.to_text()})


# -- text --------------------------------------------------------------------------------------------------------------

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
TAGS = ("!!python/object/apply:os.system ['touch {marker}']", "!!python/name:os.system ''", "!!python/module:os ''",
        "!!python/object/new:os.system ['touch {marker}']", "!!binary aGVsbG8=", "!!timestamp 2001-01-01", "!x y")  # fmt: skip
HEAD = "format: 1\ntensors:\n"

YAML: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "aliases that explode": lambda: BOMB.encode(),
    "an alias to itself": lambda: b"a: &a [*a]\n",
    **{f"tag {tag.split()[0]}": (lambda tag=tag: f"a: {tag}\n".encode()) for tag in TAGS},
    "a million lines": lambda: b"".join(b"k%d: v\n" % i for i in range(1_000_000)),
    "a million empty lines": lambda: b"\n" * 1_000_000,
    "a million list items": lambda: b"a:\n" + b"- x\n" * 900_000,
    "300,000 lines of tensors": lambda: HEAD.encode() + b"".join(b"  t%d: [a]\n" % i for i in range(190_000)),
    "one line of 4 MB": lambda: HEAD.encode() + b"  a: [" + b"x" * 4_000_000 + b"]\n",
    "one line of 100 MB": lambda: b"a: " + b"x" * 100_000_000,
    "nested lists": lambda: b"a: " + b"[" * 100_000,
    "nested maps": lambda: b"{a: " * 100_000,
    "nested by indentation": lambda: b"".join(b" " * i + b"a:\n" for i in range(2_500)),
    "a key that repeats": lambda: b"a: 1\na: 2\n",
    "a key that is a list": lambda: b"? [a]\n: b\n",
    "a merge key": lambda: b"<<: {a: b}\n",
    "two documents": lambda: b"a: 1\n---\nb: 2\n",
    "no text": lambda: bytes(range(256)),
    "UTF-16": lambda: "a: 1\n".encode("utf-16"),
    "lone surrogates": lambda: b'a: "\\ud800"\n',
    "null bytes": lambda: b"a: \0\n",
    "a directive": lambda: b"%YAML 9.9\n---\na: 1\n",
    "a huge number": lambda: b"epochs: " + b"9" * 5000 + b"\n",
    "an infinite number": lambda: b"lr: .inf\nepochs: inf\n",
    "a colon storm": lambda: b"a:" * 30_000,
    "quotes that never close": lambda: b'a: "' + b"x\\" * 15_000,
    "comments without end": lambda: b"#" * 60_000,
    "anchors without end": lambda: b"&" + b"a" * 60_000 + b" x",
    "block scalars": lambda: b"a: |\n" + b"  x\n" * 15_000,
}

MANY_WILD = "".join(f"  '{{a}}.{{b}}.{{c}}.{{d:name}}{i}': [x]\n" for i in range(50_000))

SPECS: Mapping[str, Callable[[], bytes]] = {
    "wildcards side by side": lambda: (HEAD + "  'a*****************************b': [x]\n").encode(),
    "runs that would backtrack": lambda: (HEAD + "  '*.*.*.*.*.*.*.*.*.*': [x]\n" * 1).encode(),
    "digits that would backtrack": lambda: (HEAD + "  '{a}{b}{c}{d}{e}': [x]\n").encode(),
    "50,000 patterns": lambda: (HEAD + MANY_WILD).encode(),
    "1,900 patterns for each tensor": lambda: (
        HEAD + "".join(f"  '{{v:name}}.{{i}}.w{{x{i}:name}}': [_]\n" for i in range(1900))
    ).encode(),
    "a buffer pattern of 100,000 stars": lambda: (HEAD + "  '*.{l}.*': []\nbuffers: ['" + "*a" * 50_000 + "']\n").encode(),
    "100,000 buffer patterns": lambda: (
        HEAD + "  '*.{l}.*': []\nbuffers: [" + ", ".join(f"'*a{i}*b'" for i in range(90_000)) + "]\n"
    ).encode(),
    "a range of a billion": lambda: (HEAD + "  '*.{l}.*': ['g.{0:999999999}']\n").encode(),
    "ranges in the thousands": lambda: (
        HEAD + "  '*.{l}.*': ['" + " + ".join(["g.{0:10000}"] * 1500) + "']\n"
    ).encode(),
    "ranges multiplied": lambda: (
        HEAD + "  '*.{l}.*': ['(" + " ".join(["(g.{0:10000})"] * 1200) + ")']\n"
    ).encode(),
    "sums of a thousand terms": lambda: (HEAD + "  '*.{l}.*': ['g.{" + "l+" * 99 + "l}']\n").encode(),
    "an expression of 20,000 signs": lambda: (HEAD + "  '*.{l}.*': ['" + "a+" * 9_999 + "a']\n").encode(),
    "an expression too long": lambda: (HEAD + "  '*.{l}.*': ['" + "a+" * 99_999 + "a']\n").encode(),
    "parentheses too deep": lambda: (HEAD + "  '*.{l}.*': ['" + "(" * 9_000 + "a" + ")" * 9_000 + "']\n").encode(),
    "products of sums": lambda: (
        HEAD + "  '*.{l}.*': ['(" + " ".join(f"(a{i} + b{i})" for i in range(700)) + ")']\n"
    ).encode(),
    "unknowns that depend on each other": lambda: (
        HEAD + "  '*.{l}.bias': ['" + " + ".join(f"(a{i} b{i})" for i in range(1200)) + "']\n"
        "  '*.{l}.weight': ['" + " + ".join(f"(b{i} a{i})" for i in range(1200)) + "']\n"
    ).encode(),
    "a huge size": lambda: ("format: 1\ngroups:\n  a: {size: 999999999999}\n" + HEAD[10:] + "  '*.{l}.*': [a]\n").encode(),
    "groups within each other": lambda: (
        "format: 1\ngroups:\n  a: {within: b}\n  b: {within: a}\n" + HEAD[10:] + "  '*.{l}.*': ['(a b)']\n"
    ).encode(),
    "names of 5,000 digits": lambda: (HEAD + "  '*.{l}.*': ['g" + "1" * 5000 + "']\n").encode(),
    "a size that is an expression": lambda: (
        "format: 1\ngroups:\n  a: {size: '(b c)'}\n" + HEAD[10:] + "  '*.{l}.*': [a]\n"
    ).encode(),
}  # fmt: skip


# -- pickles, archives, pictures ---------------------------------------------------------------------------------------


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))


def _torch_zip(payload: bytes, *, pickled: str = "archive/data.pkl") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(pickled, payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


def pickles(directory: Path) -> Mapping[str, Callable[[], bytes]]:
    """PyTorch files and states that would run code or exhaust memory."""
    payload = pickle.dumps(_Payload(directory / MARKER), protocol=2)

    def saved(value: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()

    def bomb() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 300_000_000 + b".")
            archive.writestr("archive/version", "3\n")
        return buffer.getvalue()

    return {
        "a pickle that runs code": lambda: payload,
        "a zip whose pickle runs code": lambda: _torch_zip(payload),
        "a state dict beside code": lambda: saved({"a": torch.zeros(2), "b": _Payload(directory / MARKER)}),
        "a whole module": lambda: saved(torch.nn.Linear(2, 2)),
        "empty": lambda: b"",
        "no pickle": lambda: b"hello" * 100,
        "a cut zip": lambda: saved({"a": torch.zeros(100)})[:-100],
        "a zip that unfolds": bomb,
        "a long of 2 GB": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "a string of 4 GB": lambda: b"\x80\x02X\xff\xff\xff\xff.",
        "a frame of 2^60": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b".",
        "memo at 2^31": lambda: _torch_zip(b"\x80\x02}r\xff\xff\xff\x7f."),
        "tuples that double": lambda: _torch_zip(b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"."),
        "nested tuples": lambda: _torch_zip(b"\x80\x02)" + b"\x85" * 200_000 + b"."),
        "numbers only": lambda: saved([1, 2, 3]),
        "a dict of dicts": lambda: saved({"state_dict": {"model": {"net": {"a": 1}}}}),
        "a huge storage of nothing": lambda: _huge_storage(saved),
    }


def _huge_storage(saved: Callable[[Any], bytes]) -> bytes:
    """A tensor of 10^12 elements by strides of zero over a single one."""
    return saved({"a": torch.zeros(1).expand(10**12)})


def _npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def _npy_header(words: str, data: bytes = b"", *, length: int | None = None, version: int = 1) -> bytes:
    raw = words.encode()
    size = len(raw) if length is None else length
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", size) + raw + data


LABELS = _npy(np.arange(10) % 2)


def arrays(directory: Path) -> Mapping[str, Callable[[], bytes]]:
    """Archives of arrays."""

    def pickled() -> bytes:
        objects = np.empty(10, dtype=object)
        objects[:] = _Payload(directory / MARKER)
        return _npz(x=_npy(objects, allow_pickle=True), y=LABELS)

    def with_header(words: str, data: bytes = b"", **more: Any) -> bytes:
        return _npz(x=_npy_header(words, data, **more), y=LABELS)

    good = _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=LABELS)
    return {
        "pickled objects": pickled,
        "no archive": lambda: b"hello",
        "empty": lambda: b"",
        "an empty archive": lambda: _npz(),
        "cut": lambda: good[:-30],
        "a bomb": lambda: _npz(x=_npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 30000000)}",
                                             bytes(300_000_000)), y=LABELS),
        "a huge shape": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 10000000000000)}"),
        "a shape of 0 times 2^62": lambda: with_header(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4)}"
        ),
        "a negative shape": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-10, -4)}", bytes(40)),
        "a header that is code": lambda: with_header(f"open({str(directory / MARKER)!r}, 'w')"),
        "a header nested deeply": lambda: with_header("(" * 30_000),
        "a header of 2 GB": lambda: with_header("{", length=2**31 - 1, version=2),
        "a structured dtype": lambda: with_header(
            "{'descr': [('a', '|u1'), ('b', '<f8')], 'fortran_order': False, 'shape': (10,)}", bytes(90)
        ),
        "a dtype of 2 GB": lambda: with_header("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (0,)}"),
        "a million dimensions": lambda: with_header(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 9_000 + ")}", b"x"
        ),
        "NaN": lambda: _npz(x=_npy(np.full((10, 4), np.nan)), y=LABELS),
        "labels of 2^60": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.full(10, 2**60))),
        "labels of -1": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.full(10, -1))),
        "fewer labels than images": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.arange(3))),
        "names that leave the directory": lambda: _npz(**{"../../x": LABELS, "y": LABELS}),
        "a member of a lying size": lambda: good.replace(struct.pack("<I", len(_npy(np.zeros((10, 4, 4), np.uint8)))),
                                                         struct.pack("<I", 2**31)),
    }  # fmt: skip


def _idx(dimensions: int, sizes: tuple[int, ...], data: bytes, *, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, dimensions)) + struct.pack(f">{len(sizes)}I", *sizes) + data


IDX: Mapping[str, bytes] = {
    "empty": b"",
    "cut header": bytes((0, 0, 8)),
    "another type": _idx(3, (10, 4, 4), bytes(160), kind=13),
    "another rank": _idx(1, (160,), bytes(160)),
    "sizes of 2^32": _idx(3, (2**32 - 1,) * 3, bytes(160)),
    "fewer bytes": _idx(3, (10, 4, 4), bytes(159)),
    "more bytes": _idx(3, (10, 4, 4), bytes(161)),
    "no images": _idx(3, (0, 4, 4), b""),
    "gzip that is cut": gzip.compress(_idx(3, (10, 4, 4), bytes(160)))[:-9],
    "gzip bomb": gzip.compress(_idx(3, (10, 40_000, 1_000), bytes(400_000_000)), 1),
    "gzip of noise": b"\x1f\x8b" + bytes(range(200)),
}


def _idx_directory(directory: Path, images: bytes) -> Path:
    place = directory / "data.d"
    place.mkdir()
    suffix = ".gz" if images[:2] == b"\x1f\x8b" else ""
    for part in ("train", "t10k"):
        (place / f"{part}-images-idx3-ubyte{suffix}").write_bytes(images)
        (place / f"{part}-labels-idx1-ubyte").write_bytes(_idx(1, (10,), bytes([0, 1] * 5)))
    return place


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _good_image(form: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(buffer, form)
    return buffer.getvalue()


IMAGES: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"hello",
    "a program": lambda: b"\x7fELF" + bytes(1000),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://localhost/x"/></svg>',
    "a cut PNG": lambda: _good_image("PNG")[:-60],
    "a cut JPEG": lambda: _good_image("JPEG")[:-60],
    "a PNG of 60,000 x 60,000": lambda: _png(60_000, 60_000),
    "a PNG of 2^31 x 2^31": lambda: _png(2**31 - 1, 2**31 - 1),
    "a PNG of 20,000 x 2,400 without data": lambda: _png(20_000, 2_400),
    "a PNG of nothing": lambda: _png(0, 0),
    "a PNG that unfolds": lambda: _png(16, 16, bytes(100_000_000)),
    "a PPM of 10^9 x 1": lambda: b"P6 1000000000 1 255\n",
    "a BMP of lies": lambda: b"BM" + bytes(24) + struct.pack("<ii", 2**30, -(2**30)) + bytes(100),
    "a TIFF of lies": lambda: b"II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(range(200)),
    "a WEBP of lies": lambda: b"RIFF\xff\xff\xff\xffWEBPVP8L" + bytes(range(200)),
}


def _image_directory(directory: Path, image: bytes) -> Path:
    place = directory / "data.f"
    for part in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (place / part / name).mkdir(parents=True)
            for i in range(3):
                content = image if (number, i) == (1, 2) else _good_image("PNG")
                (place / part / name / f"{i}.png").write_bytes(content)
    return place


# -- all of them -------------------------------------------------------------------------------------------------------


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / name
        path.write_bytes(content())
        return path

    return make


def cases() -> Iterator[tuple[str, Case]]:
    """(kind of file, case), all of the catalogue."""
    for name, content in SAFETENSORS.items():
        yield "safetensors", Case(name, _file("x.safetensors", content), read_checkpoint, name in HARMLESS)
    for name, content in YAML.items():
        yield "archspec", Case(name, _file("x.yaml", content), read_spec)
        yield "recipe", Case(name, _file("x.yaml", content), recipe.load, name == "empty")
    for name, content in SPECS.items():
        yield "archspec", Case(name, _file("x.yaml", content), read_spec, True)
    for name in pickles(Path()):
        yield "PyTorch file", Case(name, _pickled("x.pt", name), converting.read_any, name.startswith("tuples"))
        yield "state", Case(name, _pickled("x.safetensors.state", name), read_state)
    for name in arrays(Path()):
        yield "npz", Case(name, _array(name), read_data)
    for name, images in IDX.items():
        yield "idx", Case(name, lambda directory, images=images: _idx_directory(directory, images), read_data)
    for name, image in IMAGES.items():
        yield (
            "images",
            Case(
                name,
                lambda directory, image=image: _image_directory(directory, image()),
                read_data,
                name == "a PNG that unfolds",
            ),
        )
    for name, tensors in _permutations().items():
        yield "permutation", Case(name, _permutation(tensors), read_permutation)


def _pickled(file: str, name: str) -> Callable[[Path], Path]:
    return lambda directory: _file(file, pickles(directory)[name])(directory)


def _array(name: str) -> Callable[[Path], Path]:
    return lambda directory: _file("x.npz", arrays(directory)[name])(directory)


def _permutations() -> dict[str, dict[str, torch.Tensor]]:
    good = {"a": torch.arange(4), "b": torch.arange(6)}
    return {
        "a group missing": {"a": good["a"]},
        "a group too many": {**good, "c": torch.arange(2)},
        "a unit twice": {**good, "a": torch.tensor([0, 1, 1, 3])},
        "out of range": {**good, "a": torch.tensor([0, 1, 2, 2**62])},
        "negative": {**good, "a": torch.tensor([0, 1, 2, -1])},
        "floats": {**good, "a": torch.arange(4.0)},
        "another length": {**good, "a": torch.arange(5)},
        "a scalar": {**good, "a": torch.tensor(0)},
        "a matrix": {**good, "a": torch.arange(4).reshape(2, 2)},
        "empty": {**good, "a": torch.arange(0)},
    }


def _permutation(tensors: dict[str, torch.Tensor]) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / "p.safetensors"
        checkpoint.write(path, tensors, checkpoint.Metadata(kind="permutation"))
        return path

    return make


def truncations() -> Iterator[bytes]:
    """A small file of ours cut at every length."""
    content = whole_checkpoint()
    yield from (content[:length] for length in range(len(content)))


def read_header_only(path: Path) -> None:
    """As `inspect` reads: without torch."""
    with_problems = tensorfile.read_header(path)
    checkpoint.parse_metadata(with_problems.metadata.get("starcli"), str(path))


__all__ = ["Case", "StarcliError", "cases", "truncations"]
