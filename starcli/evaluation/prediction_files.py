"""Files of predictions: .csv, .npz and .parquet; the same predictions give the same bytes."""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from starcli.errors import StarcliError, unknown
from starcli.evaluation.predictions import Predicted, Values
from starcli.files.names import is_standard_stream

LINES = 1000
"""Lines of a .csv file that are made at a time."""


def csv_pieces(predictions: Predicted) -> Iterator[bytes]:
    """A heading, then a line for each example of each predictor; numbers with all the digits that their type needs.

    >>> import torch
    >>> from starcli.evaluation.predictions import Predictions
    >>> found = Predictions.of({"a": torch.tensor([[0.5, 0.5]]).double().log()})
    >>> print(b"".join(csv_pieces(found)).decode(), end="")
    model,index,prediction,entropy,probability_0,probability_1
    a,0,0,0.6931471805599453,0.5,0.5
    """
    for number, table in enumerate(predictions.tables()):
        if number == 0:
            yield _lines([list(table)])
        for start in range(0, len(predictions), LINES):
            chosen = (_written(values[start : start + LINES]) for values in table.values())
            yield _lines(zip(*chosen, strict=True))


def _written(values: Values) -> list[Any]:
    """Values as they are written: float32 by the fewest digits that give it again, 0.1 and not 0.10000000149011612."""
    return list((values.astype(str) if values.dtype == np.float32 else values).tolist())


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")  # names of files may be any bytes


def npz_pieces(predictions: Predicted) -> Iterator[bytes]:
    """The arrays of `Predicted.arrays`, as `numpy.savez` writes them, which could not take one called `file`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in predictions.arrays().items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:  # no time of day
                np.lib.format.write_array(member, values, allow_pickle=False)
    yield buffer.getvalue()


def parquet_pieces(predictions: Predicted) -> Iterator[bytes]:
    """The table of `Predicted.to_frame`; its words are text, see `check_file_names`."""
    buffer = io.BytesIO()
    predictions.to_frame().to_parquet(buffer, engine="pyarrow", index=False)
    yield buffer.getvalue()


_FORMATS: Mapping[str, Callable[[Predicted], Iterator[bytes]]] = {
    ".csv": csv_pieces,
    ".npz": npz_pieces,
    ".parquet": parquet_pieces,
}


def prediction_format(path: Path) -> Callable[[Predicted], Iterator[bytes]]:
    """The function that writes predictions in the format of this file name, in pieces; stdout takes csv.

    Raises StarcliError for another suffix, and for .parquet where pandas or pyarrow are not installed.
    """
    if is_standard_stream(path):
        return csv_pieces
    if path.suffix.lower() not in _FORMATS:
        raise StarcliError(f"{path}: {unknown('suffix', path.suffix, _FORMATS).summary}")
    missing = [name for name in ("pandas", "pyarrow") if importlib.util.find_spec(name) is None]
    if path.suffix.lower() == ".parquet" and missing:
        needed = " and ".join(missing)
        raise StarcliError(f"{path}: needs the package{'s' * (len(missing) > 1)} {needed}; .csv and .npz do not")
    return _FORMATS[path.suffix.lower()]


def check_file_names(path: Path, files: Sequence[str] | None) -> None:
    r"""StarcliError where the format of `path` cannot hold these names of image files, which .csv and .npz always can.

    >>> import os
    >>> check_file_names(Path("p.parquet"), [os.fsdecode(b"a\xff.png")])
    Traceback (most recent call last):
    starcli.errors.StarcliError: p.parquet: its words are text in UTF-8, which the name a\udcff.png is not
      .csv and .npz take any name
    """
    if files is None or is_standard_stream(path) or path.suffix.lower() != ".parquet":
        return
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            what = f"{path}: its words are text in UTF-8, which the name {name} is not"
            raise StarcliError(what, [".csv and .npz take any name"]) from error
