"""Data: tables, texts and their tokenizers, shards of webdatasets, saved data sets of Hugging Face."""

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from starcli.cli.options.values import class_weights
from starcli.data.tokenizers import open_tokenizer
from starcli.data.unlabelled import is_unlabelled
from starcli.errors import StarcliError

from ..hostile import images, readers
from .target import Target

# -- readers -----------------------------------------------------------------------------------------------------------


def _table(path: Path) -> None:
    """As numbers and as texts, with labels and without."""
    for kind in ("table", "text"):
        with contextlib.suppress(StarcliError):
            readers.read_named(f"{kind}:{path}")
        with contextlib.suppress(StarcliError):
            is_unlabelled(f"{kind}:{path}")


def _shard(path: Path) -> None:
    readers.read_named(f"wds:{path}")


def _label(path: Path) -> None:
    """A label in a sound shard, alone and as an object with keys."""
    content = path.read_bytes()
    for kind in ("cls", "json"):
        path.write_bytes(tar({"a.npy": _npy(), f"a.{kind}": content, "b.npy": _npy(), f"b.{kind}": content}))
        with contextlib.suppress(StarcliError):
            _shard(path)


def _array(path: Path) -> None:
    """An array in a sound shard."""
    content = path.read_bytes()
    path.write_bytes(tar({"a.npy": content, "a.cls": b"0", "b.npy": content, "b.cls": b"1"}))
    _shard(path)


def _saved(path: Path) -> None:
    readers.read_named(f"hf:{path.parent}")


def _tokenizer(path: Path) -> None:
    found = open_tokenizer(path)
    found.encode(["a new cat", "", "\0é" * 9])
    found.cut(["a new cat"], 8)


def _class_weights(path: Path) -> None:
    class_weights(str(path))


# -- sound inputs ------------------------------------------------------------------------------------------------------


def tar(members: Mapping[str, bytes]) -> bytes:
    """A tar file of these members, in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2), np.uint8))
    return buffer.getvalue()


def _examples(kind: str, content: bytes, label: str, labels: tuple[bytes, ...]) -> bytes:
    return tar({f"{n}.{end}": what for n, each in enumerate(labels) for end, what in ((kind, content), (label, each))})


NUMBERS = b"rooms,age,label\n" + b"".join(b"%d,%d.5,%s\n" % (n, n, (b"a", b"b")[n % 2]) for n in range(10))
TEXTS = b"text,label\n" + b"".join(b'"a ""new"" cat, %d",%s\n' % (n, (b"yes", b"no")[n % 2]) for n in range(10))


def _lines(table: bytes) -> bytes:
    """A table as JSON lines."""
    heading, *rows = (line.split(b",", 1) for line in table.decode().replace('"', "").encode().splitlines())
    named = ({name.decode(): value.decode() for name, value in zip(heading, row, strict=True)} for row in rows)
    return "".join(json.dumps({**row, "x": 1.5, "label": n % 2}) + "\n" for n, row in enumerate(named)).encode()


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


FEATURES = {
    "x": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
    "label": {"names": ["a", "b"], "_type": "ClassLabel"},
}
INFO, STATE, ARROW = "dataset_info.json", "state.json", "data-00000-of-00001.arrow"
"""Files of a data set that is saved to disk."""


def saved_dataset(columns: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a data set with these columns."""
    import pyarrow

    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": ARROW}], "_fingerprint": "0", "_format_columns": None,
             "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None}  # fmt: skip
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    return {ARROW: buffer.getvalue(), STATE: json.dumps(state).encode(), INFO: json.dumps(info).encode()}


def _dataset() -> dict[str, bytes]:
    import pyarrow

    rows = pyarrow.array([[float(n), 1.0] for n in range(10)], pyarrow.list_(pyarrow.float32()))
    return saved_dataset({"x": rows, "label": pyarrow.array([n % 2 for n in range(10)])}, FEATURES)


def _pictures() -> dict[str, bytes]:
    import pyarrow

    rows = [{"bytes": images.good_image("PNG"), "path": None}] * 6
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    columns = {"image": pyarrow.array(rows, kind), "label": pyarrow.array([n % 2 for n in range(6)])}
    return saved_dataset(columns, {"image": {"_type": "Image"}, "label": FEATURES["label"]})


def tokenizer_file() -> bytes:
    """A small tokenizer.json."""
    import tokenizers

    vocabulary = {"[UNK]": 0, "[MASK]": 1, "a": 2, "new": 3, "cat": 4, "[CLS]": 5, "[SEP]": 6}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[MASK]", "[CLS]"])
    ends = [("[CLS]", 5), ("[SEP]", 6)]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B", ends)
    return made.to_str().encode()


def targets() -> Iterator[Target]:
    """Their readers."""
    yield Target("table, .csv", [NUMBERS, TEXTS], _table, ".csv")
    yield Target("table, .tsv", [each.replace(b",", b"\t") for each in (NUMBERS, TEXTS)], _table, ".tsv")
    yield Target("table, .jsonl", [_lines(NUMBERS), _lines(TEXTS)], _table, ".jsonl")
    labels = ["a", "b"] * 5
    parquets = [{"x": [0.5] * 10, "label": labels}, {"text": ["a cat"] * 10, "label": labels}]
    yield Target("table, .parquet", [*map(_parquet, parquets)], _table, ".parquet")
    yield Target("class weights", [b"1, 2.5\n3"], _class_weights, ".txt")
    numbers = (b"0", b"1", b"0", b"1", b"0")
    objects = tuple(b'{"label": %s}' % each for each in numbers)
    shards = [_examples("npy", _npy(), "cls", numbers), _examples("png", images.good_image("PNG"), "json", objects)]
    yield Target("webdataset", shards, _shard, ".tar")
    yield Target("label of a webdataset", [b"1", b'{"label": [0, 1]}'], _label, ".tar")
    yield Target("array of a webdataset", [_npy()], _array, ".tar")
    dataset, pictures = _dataset(), _pictures()
    yield Target("saved data set, .arrow", [dataset[ARROW]], _saved, f"/{ARROW}", dataset)
    yield Target("saved data set, images", [pictures[ARROW]], _saved, f"/{ARROW}", pictures)
    for name in (INFO, STATE):
        yield Target(f"saved data set, {name}", [dataset[name]], _saved, f"/{name}", dataset)
    yield Target("tokenizer", [tokenizer_file()], _tokenizer, ".json")
