"""Data sets from one `.npz` or `.safetensors` file of images and labels.

Keys: `train_images`, `train_labels`, and `test_images`, `test_labels`, `val_images`, `val_labels` or one pair of these
(or `x_train`, `y_train`, `x_test`, ...); or one pair for all, `images` and `labels` (or `x` and `y`). Capitals count as
small letters where that is one name alone. Without a test part the validation part is measured in its place, and where
there is none either, a fixed fifth is held out (`held_out_fifth`); a test part alone is measured as a whole. Notes say
so, and another one names other keys.

Images: uint8 (divided by 255) or float (as they are); (N, H, W), (N, C, H, W), (N, H, W, C) or (N, D). Of four axes the
sizes tell which holds the channels (`channels_are_last`), or an entry `layout`, the word NCHW or NHWC (in the metadata
of a .safetensors file). Labels: integers (N,), see `class_numbers`, or targets
of other tasks, see `data.targets`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from starcli.data.layout import channels_are_last
from starcli.data.loading import Array, Loaded, Part, Request, assemble, check_unpacked
from starcli.data.partition import held_out_fifth
from starcli.data.targets import read_targets, task_of_targets
from starcli.data.tokens import strata
from starcli.errors import StarcliError, few, first_line, number_of
from starcli.files.safetensors import read_tensors

KEYS = (
    (("train_images", "train_labels"), ("test_images", "test_labels"), ("val_images", "val_labels")),
    (("x_train", "y_train"), ("x_test", "y_test"), ("x_val", "y_val")),
    (("images", "labels"),),
    (("x", "y"),),
)
"""Names of pairs of images and labels, in small letters: for training, or of all; perhaps for test and validation.

The first row whose first pair is in a file counts.
"""

NO_TRAINING_PART = "no training part in it"
"""What a note says of data with a test part alone."""

LAYOUT = "layout"
"""Key of the order of the axes, where a file says it."""


@dataclass(frozen=True)
class Contents:
    """Contents of a file: arrays by its own keys, in the order of KEYS, the layout that it says, keys left unread."""

    arrays: Mapping[str, Array]
    layout: str | None
    unread: Sequence[str]

    def notes(self, path: Path) -> list[str]:
        """A note on what was left unread in the file; none where that is nothing."""
        return [f"{path}: left unread: {few(sorted(self.unread), 5)}"] if self.unread else []


def load_arrays(request: Request) -> Loaded:
    """Load the file that the name gives; its suffix tells the format."""
    path = Path(request.rest)
    contents = read_arrays(path)
    task = request.texts.task or task_of_targets(list(contents.arrays.values())[1])  # the labels of training
    read = _parts(contents, path, task)
    found, alone = with_training(read, path, next(iter(contents.arrays)))
    classes = None if "train" in read else len(request.texts.unnamed or ()) or None
    parts, said = divided(found, path, whole_as="x_test and y_test, alone in the file")
    loaded = assemble("arrays", *parts, task=task, num_classes=classes)
    notes = [*alone, *said, *loaded.notes, *_note_of_channels(contents, path), *contents.notes(path)]
    return replace(loaded, notes=tuple(notes))


Choose = Callable[[Collection[str], Path], tuple[str, ...]]
"""Names of the arrays to be read, of those in a file."""


def labelled_keys(found: Collection[str], path: Path) -> tuple[str, ...]:
    """The file's own names of the pairs in the first row of KEYS whose first pair it has, or that for test alone."""
    rows = [[(spelled(images, found), spelled(labels, found)) for images, labels in row] for row in KEYS]
    alone = [[pairs[1]] for pairs in rows if len(pairs) > 1 and all(pairs[1]) and not any((*pairs[0], *pairs[2]))]
    for pairs in [*(pairs for pairs in rows if all(pairs[0])), *alone]:
        return tuple(name for pair in pairs if all(pair) for name in pair if name is not None)
    raise StarcliError(
        f"{path}: no images with labels in it",
        [
            "expected the keys " + "; or ".join(", ".join(key for pair in row[:2] for key in pair) for row in KEYS),
            "found " + (", ".join(sorted(found)[:10]) or "nothing"),
        ],
    )


def spelled(key: str, found: Collection[str]) -> str | None:
    """The name in `found` that is `key`, or is the only one that is `key` but for capitals; None where there is none.

    >>> spelled("x", ["X", "y"]), spelled("x_test", ["X_Test", "X_TEST"])
    ('X', None)
    """
    alike = [name for name in found if name.lower() == key]
    return key if key in alike else alike[0] if len(alike) == 1 else None


def read_arrays(path: Path, choose: Choose = labelled_keys) -> Contents:
    """Contents of a .npz or .safetensors file."""
    readers: Mapping[str, Callable[[Path, Choose], Contents]] = {".npz": read_npz, ".safetensors": read_safetensors}
    if path.suffix not in readers:
        raise StarcliError(f"{path}: unknown suffix {path.suffix!r}, expected .npz or .safetensors")
    if not path.is_file():
        raise StarcliError(f"{path}: no such file")
    contents = readers[path.suffix](path, choose)
    if contents.layout not in (None, "NCHW", "NHWC"):
        raise StarcliError(f"{path}: {LAYOUT} is {contents.layout!r:.40}, expected NCHW or NHWC")
    return contents


def array_names(path: Path) -> list[str]:
    """Names of the arrays in a .npz or .safetensors file, of which none is read."""
    return list(read_arrays(path, lambda *_: ()).unread)


def read_npz(path: Path, choose: Choose = labelled_keys) -> Contents:
    """Contents of a .npz file. Raises StarcliError for pickled objects, headers that lie and decompression bombs."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            keys = choose(members, path)
            stored = path.stat().st_size
            wanted = [*keys, *([LAYOUT] if LAYOUT in members else [])]
            check_unpacked(path, sum(members[key].file_size for key in wanted), stored)
            arrays = {}
            for key in wanted:
                with archive.open(members[key]) as stream:
                    arrays[key] = read_npy(stream, members[key].file_size, f"{path}: {key}")
            layout = str(arrays.pop(LAYOUT)) if LAYOUT in arrays else None
            return Contents(arrays, layout, [key for key in members if key not in wanted])
    except StarcliError:
        raise
    except Exception as error:
        # A damaged archive makes zipfile, zlib and NumPy's header parser raise nearly anything.
        raise StarcliError(f"{path}: cannot be read as .npz: {first_line(error)}") from error


def read_safetensors(path: Path, choose: Choose = labelled_keys) -> Contents:
    """Contents of a .safetensors file, copied into memory; floats of any width as float32."""
    header, tensors = read_tensors(path)
    keys = choose(header.tensors, path)
    # The tensors are mapped: a copy cannot be pulled away from under a run of hours.
    arrays = {
        key: (tensors[key].float() if tensors[key].is_floating_point() else tensors[key]).numpy().copy() for key in keys
    }
    return Contents(arrays, header.metadata.get(LAYOUT), [key for key in header.tensors if key not in keys])


def read_npy(stream: IO[bytes], size: int, where: str) -> Array:
    """Array in a .npy stream of `size` bytes; its header is believed only as far as the size bears it out."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        if version not in readers:
            raise StarcliError(f"{where}: .npy version {version}, expected 1.0 or 2.0")
        shape, fortran, dtype = readers[version](stream)
    except StarcliError:
        raise
    except Exception as error:  # a damaged header makes NumPy's parser raise nearly anything
        raise StarcliError(f"{where}: cannot be read as .npy: {first_line(error)}") from error
    if dtype.hasobject:
        raise StarcliError(f"{where}: holds pickled objects, which could run code; refused")
    count, length = prod(shape), size - stream.tell()
    if min(shape, default=1) < 0 or count * dtype.itemsize != length:
        raise StarcliError(f"{where}: {length:,} bytes, expected {count * dtype.itemsize:,} for {dtype} {shape}")
    buffer = np.empty(length, dtype=np.uint8)
    view, filled = buffer.data, 0
    while filled < length and (piece := stream.read(min(length - filled, 1 << 20))):
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled < length or stream.read(1):  # reading to the end checks the archive's sum too
        raise StarcliError(f"{where}: {'more' if filled == length else f'{filled:,}'} bytes, expected {length:,}")
    return np.ndarray(shape, dtype, buffer, order="F" if fortran else "C")


def _parts(contents: Contents, path: Path, task: str) -> dict[str, Part]:
    """Training part, or all, as "train", and "test" and "validation" where the file has them."""
    keys, arrays = list(contents.arrays), contents.arrays
    parts = {}
    for images, labels in zip(keys[::2], keys[1::2], strict=True):
        where = f"{path}: {images}"
        inputs = image_rows(arrays[images], where, contents.layout)
        name = images.lower()
        role = "test" if "test" in name else "validation" if "val" in name else "train"
        parts[role] = Part(inputs, read_targets(arrays[labels], task, f"{path}: {labels}"), where)
    return parts


def with_training(parts: Mapping[str, Part], path: Path | str, called: str = "") -> tuple[dict[str, Part], list[str]]:
    """Parts with a training part, for which a test part that is alone stands, and a note on that.

    called: what the file, or the array, of the test part is called.
    """
    if "train" in parts:
        return dict(parts), []
    called = called or Path(parts["test"].where).name
    return {"train": parts["test"], **parts}, [f"{path}: {NO_TRAINING_PART}: {called} stands for it too"]


def divided(
    parts: Mapping[str, Part], path: Path | str, *, whole_as: str | None = None
) -> tuple[list[Part], list[str]]:
    """Training, test and, where there is one, validation part, and a note on what stands for a test part.

    whole_as: what all of the data have to be called to be measured, which the note says.
    """
    if "test" in parts:
        return [parts[role] for role in ("train", "test", "validation") if role in parts], []
    if "validation" in parts:
        note = "no test part: the validation part is measured as test split too"
        return [parts["train"], parts["validation"], parts["validation"]], [f"{path}: {note}"]
    whole = parts["train"]
    if len(whole.labels) != len(whole.inputs):
        sizes = number_of(len(whole.inputs), "example"), number_of(len(whole.labels), "label")
        raise StarcliError(f"{whole.where}: {sizes[0]} and {sizes[1]}")
    if len(whole.labels) < 2:
        raise StarcliError(
            f"{whole.where}: a single example, and no test part; expected at least 2, to hold a fifth out"
        )
    inner, outer = held_out_fifth(strata(whole.labels))
    note = f"no test part: a fifth is held out as the test split, {len(outer)} of {len(inner) + len(outer)}"
    note += f"; to measure on all of it, call it {whole_as}" if whole_as else ""
    return [
        Part(whole.inputs[inner], whole.labels[inner], whole.where, inner),
        Part(whole.inputs[outer], whole.labels[outer], f"{whole.where} (held-out fifth)", outer),
    ], [f"{path}: {note}"]


def image_rows(array: Array, where: str, layout: str | None) -> Array:
    """Images as (N, C, H, W) or (N, D), contiguous, uint8 or finite float32."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise StarcliError(f"{where}: shape {array.shape}, expected (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C)")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and _is_last(array.shape, layout, where):
        array = array.transpose(0, 3, 1, 2)
    return bytes_or_floats(array, where)


def bytes_or_floats(array: Array, where: str) -> Array:
    """An array as it is kept: contiguous, uint8 or finite float32. StarcliError for all else, and without examples."""
    if not len(array):
        raise StarcliError(f"{where}: no examples in it")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        hint = "x.astype('float32') makes floats of them; divide images by their largest value"
        raise StarcliError(
            f"{where}: numbers of type {array.dtype}, expected uint8 or float",
            [hint] if array.dtype.kind in "iub" else [],
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported as such
        floats: NDArray[np.float32] = np.ascontiguousarray(array, dtype=np.float32)
    bad = len(floats) - int(np.isfinite(floats).reshape(len(floats), -1).all(axis=1).sum())
    if bad:
        raise StarcliError(f"{where}: {bad} of {len(floats)} hold NaN or infinite numbers")
    return floats


def _is_last(shape: tuple[int, ...], layout: str | None, where: str) -> bool:
    """Whether the last of four axes holds the channels, as the file says or the sizes tell."""
    last = channels_are_last(shape) if layout is None else layout == "NHWC"
    if last is None:
        raise unclear_layout(shape, where)
    return last


def unclear_layout(shape: tuple[int, ...], where: str) -> StarcliError:
    """Error for images whose sizes do not say which axis is that of the channels, nor does their file."""
    hint = f"store the word NCHW or NHWC beside it: np.savez(..., {LAYOUT}='NCHW')"
    return StarcliError(f"{where}: shape {shape} does not tell which axis holds the channels", [hint])


def _note_of_channels(contents: Contents, path: Path) -> list[str]:
    """A note where images have channels last that are neither grey nor RGB: only their sizes tell so."""
    key, array = next(iter(contents.arrays.items()))
    if array.ndim != 4 or contents.layout is not None or array.shape[3] in (1, 3) or not channels_are_last(array.shape):
        return []
    return [f"{path}: {key}: of {array.shape}, the last axis is taken for the channels"]
