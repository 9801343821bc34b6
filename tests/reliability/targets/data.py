"""Data: tables, texts and their tokenizers, shards of webdatasets, saved data sets of Hugging Face."""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starcli.cli.options.values import class_weights
from starcli.data.unlabelled import is_unlabelled
from starcli.errors import StarcliError

from ..hostile import images, readers
from ..hostile.data_files import (
    ARROW,
    INFO,
    STATE,
    npy_file,
    picture_dataset,
    read_saved,
    read_shard,
    read_tokenizer,
    sound_dataset,
    tar,
    tokenizer_file,
)
from .target import Target

# -- readers -----------------------------------------------------------------------------------------------------------


def _table(path: Path) -> None:
    """As numbers and as texts, with labels and without."""
    for kind in ("table", "text"):
        with contextlib.suppress(StarcliError):
            readers.read_named(f"{kind}:{path}")
        with contextlib.suppress(StarcliError):
            is_unlabelled(f"{kind}:{path}")


def _label(path: Path) -> None:
    """A label in a sound shard, alone and as an object with keys."""
    content = path.read_bytes()
    for kind in ("cls", "json"):
        path.write_bytes(tar({"a.npy": npy_file(), f"a.{kind}": content, "b.npy": npy_file(), f"b.{kind}": content}))
        with contextlib.suppress(StarcliError):
            read_shard(path)


def _array(path: Path) -> None:
    """An array in a sound shard."""
    content = path.read_bytes()
    path.write_bytes(tar({"a.npy": content, "a.cls": b"0", "b.npy": content, "b.cls": b"1"}))
    read_shard(path)


def _class_weights(path: Path) -> None:
    class_weights(str(path))


# -- sound inputs ------------------------------------------------------------------------------------------------------


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
    shards = [_examples("npy", npy_file(), "cls", numbers), _examples("png", images.good_image("PNG"), "json", objects)]
    yield Target("webdataset", shards, read_shard, ".tar")
    yield Target("label of a webdataset", [b"1", b'{"label": [0, 1]}'], _label, ".tar")
    yield Target("array of a webdataset", [npy_file()], _array, ".tar")
    dataset, pictures = sound_dataset(), picture_dataset()
    yield Target("saved data set, .arrow", [dataset[ARROW]], read_saved, f"/{ARROW}", dataset)
    yield Target("saved data set, images", [pictures[ARROW]], read_saved, f"/{ARROW}", pictures)
    for name in (INFO, STATE):
        yield Target(f"saved data set, {name}", [dataset[name]], read_saved, f"/{name}", dataset)
    yield Target("tokenizer", [tokenizer_file()], read_tokenizer, ".json")
