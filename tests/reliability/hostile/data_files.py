"""Shards of webdatasets, saved data sets of Hugging Face, tokenizers: sound ones, their readers, hostile ones."""

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starcli.data.tokenizers import open_tokenizer

from . import images
from .readers import read_named

# -- readers -----------------------------------------------------------------------------------------------------------


def read_shard(path: Path) -> None:
    read_named(f"wds:{path}")


def read_saved(path: Path) -> None:
    read_named(f"hf:{path.parent}")


def read_tokenizer(path: Path) -> None:
    found = open_tokenizer(path)
    found.encode(["a new cat", "", "\0é" * 9])
    found.cut(["a new cat"], 8)


# -- sound ones --------------------------------------------------------------------------------------------------------


def tar(members: Mapping[str, bytes]) -> bytes:
    """A tar file of these members, in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def npy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2), np.uint8))
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


def sound_dataset() -> dict[str, bytes]:
    import pyarrow

    rows = pyarrow.array([[float(n), 1.0] for n in range(10)], pyarrow.list_(pyarrow.float32()))
    return saved_dataset({"x": rows, "label": pyarrow.array([n % 2 for n in range(10)])}, FEATURES)


def picture_dataset() -> dict[str, bytes]:
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


# -- hostile ones ------------------------------------------------------------------------------------------------------


def _linked(kind: bytes, to: str = "/etc/passwd") -> bytes:
    info = tarfile.TarInfo("a.cls")
    info.type, info.linkname = kind, to
    return info.tobuf() + tar({"a.npy": npy_file()})


def _named(name: str) -> bytes:
    return tar({name: npy_file(), "a.cls": b"0"})


def _of_size(size: int) -> bytes:
    info = tarfile.TarInfo("a.npy")
    info.size = size
    return info.tobuf() + bytes(1024)


def _two(content: bytes, label: bytes = b"0", kind: str = "cls") -> bytes:
    return tar({"a.npy": content, f"a.{kind}": label, "b.npy": content, f"b.{kind}": label})


SHARDS: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a symbolic link": lambda: _linked(tarfile.SYMTYPE),
    "a hard link": lambda: _linked(tarfile.LNKTYPE),
    "a device": lambda: _linked(tarfile.CHRTYPE),
    "a pipe": lambda: _linked(tarfile.FIFOTYPE),
    "a name from the root": lambda: _named("/tmp/a.npy"),
    "a name that leads out": lambda: _named("../a.npy"),
    "a member of 4 GB": lambda: _of_size(1 << 32),
    "a member of 2^62 bytes": lambda: _of_size(1 << 62),
    "gzipped zeros": lambda: gzip.compress(bytes(10_000_000)),
    "20,000 empty members": lambda: tar({f"{n}.cls": b"" for n in range(20_000)}),
    "an array of objects": lambda: _two(_npy_of(np.array([{"a": 1}], dtype=object))),
    "an array of 9 x 2^40": lambda: _two(npy_file().replace(b"(3, 2), }          ", b"(9, 1099511627776)}"[:19])),
    "a pickle as a label": lambda: _two(npy_file(), pickle.dumps(print), "pkl"),
    "a nested label": lambda: _two(npy_file(), b"[" * 60_000, "json"),
    "a label of many digits": lambda: _two(npy_file(), b"9" * 60_000),
    "a label of 100,000 bytes": lambda: _two(npy_file(), b" " * 100_000),
}


def _npy_of(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _with_cells(content: bytes | None, path: str | None) -> dict[str, bytes]:
    import pyarrow

    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    columns = {"image": pyarrow.array([{"bytes": content, "path": path}] * 6, kind)}
    columns["label"] = pyarrow.array([n % 2 for n in range(6)])
    return saved_dataset(columns, {"image": {"_type": "Image"}, "label": FEATURES["label"]})


def _with(name: str, content: bytes) -> dict[str, bytes]:
    return {**sound_dataset(), name: content}


def _info(**features: Any) -> dict[str, bytes]:
    return _with(INFO, json.dumps({"features": {**FEATURES, **features}}).encode())


def _elsewhere(place: str) -> dict[str, bytes]:
    sound = sound_dataset()
    return {**sound, STATE: sound[STATE].replace(ARROW.encode(), place.encode())}


def _lying_arrow() -> dict[str, bytes]:
    """Each length of rows and offset of the second half is 2^40."""
    content = sound_dataset()[ARROW]
    half = len(content) // 16 * 8
    return _with(ARROW, content[:half] + (2**40).to_bytes(8, "little") * ((len(content) - half) // 8))


SAVED: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "images by an address": lambda: _with_cells(None, "http://localhost:9/x.png"),
    "images by a path": lambda: _with_cells(None, "/etc/passwd"),
    "images of nothing": lambda: _with_cells(None, None),
    "images of PostScript": lambda: _with_cells(images.IMAGES["PostScript"](), None),
    "images that unfold": lambda: _with_cells(images.IMAGES["a PNG of 20,000 x 2,400 without data"](), None),
    "a table of lies": _lying_arrow,
    "an empty table": lambda: _with(ARROW, b""),
    "a table from elsewhere": lambda: _elsewhere("../../../../../../../etc/passwd"),
    "a table by an address": lambda: _elsewhere("http://localhost:9/x.arrow"),
    "nested JSON": lambda: _with(INFO, b"[" * 100_000),
    "a state of nested JSON": lambda: _with(STATE, b'{"a":' * 100_000),
    "a feature of no kind": lambda: _info(x={"_type": "os.system"}),
    "labels that are sounds": lambda: _info(label={"_type": "Audio"}),
}
"""The files of a folder."""

TOKENIZERS: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "nested JSON": lambda: b"[" * 1_000_000,
    "a number of many digits": lambda: tokenizer_file().replace(b'"id":1', b'"id":' + b"9" * 1000),
    "a pattern of no end": lambda: tokenizer_file().replace(
        b'{"type":"Whitespace"}', b'{"type":"Split","pattern":{"Regex":"(("},"behavior":"Isolated","invert":false}'
    ),
}
