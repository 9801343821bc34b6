"""Data set `wds:PATTERN`: the tar shards of a webdataset, a folder of them or names with braces.

Of each example one member is the input, an image or a .npy array, and one the label: `cls`, else `txt`, a number; else
`json`, its key `label`; `--label-column` names another member or key. Shards say in their names of which split they are
(`shard_files`). Without test shards those of validation are measured, or a fixed fifth is held out.

Images are decoded as those of `folder:DIR`, and held in memory where all of them fit there. Arrays are held in memory
always, as those of a .npz file. The order is that of the shards and of the examples in each.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.data.arrays import image_rows, read_npy
from starcli.data.encoded_images import ImageFiles
from starcli.data.image_files import SUFFIXES
from starcli.data.image_parts import LabelledImages, image_data
from starcli.data.layout import empty_classes
from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.partition import Positions, check_labels, held_out_fifth
from starcli.data.tar_examples import TarExample, TarMember, tar_examples
from starcli.data.tar_labels import tar_labels
from starcli.data.tar_shards import shard_files
from starcli.data.targets import Targets, check_targets, read_targets, task_of_targets
from starcli.data.text_options import TextOptions
from starcli.data.tokens import strata
from starcli.errors import StarcliError, few
from starcli.files.cache import hash_json
from starcli.registry.tasks import CLASSES, OF_TOKENS

IMAGES, ARRAYS = {suffix[1:] for suffix in SUFFIXES}, {"npy"}
"""Members that are inputs."""


@dataclass(frozen=True)
class _TarPart:
    """The inputs of a split, in order, and their labels; `where` names them in errors.

    index: place of each among all, where they are some of these.
    """

    inputs: Sequence[TarMember]
    labels: Targets
    where: str
    index: Positions | None = None

    def subset(self, positions: Positions) -> _TarPart:
        inputs = [self.inputs[position] for position in positions]
        return _TarPart(inputs, self.labels[positions], self.where, positions)


class TarImages(ImageFiles):
    """Images where they lie in tar files."""

    def __init__(
        self, root: Path, names: NDArray[np.bytes_], shards: Sequence[Path], places: NDArray[np.int64]
    ) -> None:
        """Image n is `places[n]` = (number of its shard, offset, size), called `names[n]`."""
        super().__init__(root, names)
        self.shards, self.places = shards, places

    @classmethod
    def of(cls, members: Sequence[TarMember]) -> TarImages:
        """Images that are members of shards, called SHARD/MEMBER."""
        shards = list(dict.fromkeys(member.shard for member in members))
        number = {shard: n for n, shard in enumerate(shards)}
        places = np.array([(number[each.shard], each.offset, each.size) for each in members], dtype=np.int64)
        names = np.array([os.fsencode(f"{each.shard.name}/{each.name}") for each in members])
        return cls(shards[0].parent, names, shards, places)

    def subset(self, positions: Positions) -> TarImages:
        """See `ImageFiles.subset`."""
        return TarImages(self.root, self.names[positions], self.shards, self.places[positions])

    def encoded(self, position: int) -> io.BytesIO:
        """See `ImageFiles.encoded`."""
        shard, offset, size = map(int, self.places[position])
        return io.BytesIO(TarMember(self.shards[shard], self.where(position).name, offset, size).read())


def load_webdataset(request: Request) -> Loaded:
    """List the shards and read labels and arrays; of images the header of the first one.

    The fingerprint of images is over names, sizes in bytes and labels, as that of `folder:DIR`; of arrays over all.
    """
    options = request.texts
    if options.task in OF_TOKENS:
        raise StarcliError(f"{request.rest}: --task {options.task} is of texts, and shards have images or arrays")
    files = shard_files(request.rest)
    kinds, task, parts = _parts(files, options)
    parts, notes = _divided(parts, request.rest)
    # of test shards alone the classes are the model's: there need not be examples of all
    classes = None if "train" in files else len(options.unnamed or ()) or None
    if kinds == ARRAYS:
        loaded = _arrays(parts, request, task, classes)
    else:
        written = hash_json([path.stat().st_ctime_ns for shards in files.values() for path in shards])
        loaded = replace(_images(parts, request, task, classes), written=written)
    return replace(loaded, notes=(*notes, *loaded.notes))


def _parts(files: Mapping[str, Sequence[Path]], options: TextOptions) -> tuple[set[str], str, dict[str, _TarPart]]:
    """What the inputs are, IMAGES or ARRAYS, the task, and all examples of each split."""
    examples = {role: [each for shard in shards for each in tar_examples(shard)] for role, shards in files.items()}
    where = {role: few([str(shard) for shard in shards], 1) for role, shards in files.items()}
    if empty := [role for role, found in examples.items() if not found]:
        raise StarcliError(f"{where[empty[0]]}: no examples in it")
    first = next(iter(examples))
    kinds = IMAGES if any(_word(kind) in IMAGES for kind in examples[first][0].members) else ARRAYS
    inputs = {role: [_input(each, kinds) for each in found] for role, found in examples.items()}
    raw = {role: np.asarray(tar_labels(found, options.label_column)) for role, found in examples.items()}
    task = options.task or task_of_targets(raw[first])
    labels = {role: read_targets(found, task, f"{where[role]}: labels") for role, found in raw.items()}
    return kinds, task, {role: _TarPart(inputs[role], labels[role], where[role]) for role in files}


def _word(kind: str) -> str:
    """What follows the last dot: `png` of `left.png`."""
    return kind.rpartition(".")[2]


def _input(example: TarExample, kinds: set[str]) -> TarMember:
    """The member that is the input: the one that is called so alone, else the one whose last word it is."""
    found = [kind for kind in example.members if kind in kinds]
    found = found or [kind for kind in example.members if _word(kind) in kinds]
    if len(found) == 1:
        return example.members[found[0]]
    if found:
        raise StarcliError(f"{example.where}: several inputs, {few(sorted(found), 5)}")
    missing = "no image" if kinds == IMAGES else "no image or .npy array"
    raise StarcliError(f"{example.where}: {missing} among {few(list(example.members), 5)}")


def _divided(parts: Mapping[str, _TarPart], name: str) -> tuple[dict[str, _TarPart], list[str]]:
    """Parts with a test part, but where a validation part is measured as it, and a note on what stands for which."""
    if "train" not in parts:
        note = f"{name}: no shards of train: those of test stand for them too"
        return {"train": parts["test"], "test": parts["test"]}, [note]
    if "test" in parts:
        return dict(parts), []
    if "validation" in parts:
        return dict(parts), [f"{name}: no test shards: those of validation are measured as test split too"]
    if len(parts["train"].inputs) < 2:
        where = parts["train"].where
        raise StarcliError(f"{where}: a single example, and no test shards; expected at least 2, to hold a fifth out")
    inner, outer = held_out_fifth(strata(parts["train"].labels))
    note = f"{name}: no test shards: a fifth is held out as the test split, {len(outer)} of {len(inner) + len(outer)}"
    return {"train": parts["train"].subset(inner), "test": parts["train"].subset(outer)}, [note]


def _arrays(parts: Mapping[str, _TarPart], request: Request, task: str, classes: int | None) -> Loaded:
    """Arrays of one shape and type, as in a .npz file; a part that stands for two is read once."""
    once = {id(part): Part(_rows(part), part.labels, part.where, part.index) for part in parts.values()}
    read = {role: once[id(part)] for role, part in parts.items()}
    train, test, validation = read["train"], read.get("test") or read["validation"], read.get("validation")
    loaded = assemble("wds", train, test, validation, task=task, num_classes=classes)
    if request.image_size not in (None, loaded.input_shape[-1]):
        raise StarcliError(f"--image-size {request.image_size}: arrays of {loaded.input_shape} have their own size")
    return loaded


def _rows(part: _TarPart) -> NDArray[np.generic]:
    rows = [read_npy(io.BytesIO(each.read()), each.size, each.where) for each in part.inputs]
    first = rows[0]
    for member, row in zip(part.inputs, rows, strict=True):
        if (row.shape, row.dtype) != (first.shape, first.dtype):
            words = f"{row.dtype} of {row.shape}, the first array is {first.dtype} of {first.shape}"
            raise StarcliError(f"{member.where}: {words}")
    return image_rows(np.stack(rows), part.where, None)


def _images(parts: Mapping[str, _TarPart], request: Request, task: str, known: int | None) -> Loaded:
    """Images of any size, decoded when they are needed."""
    named = [(part.where, part.labels, len(part.inputs)) for part in parts.values()]
    classes = check_labels(named, known) if task == CLASSES else check_targets(named)
    absent = empty_classes(parts["train"].labels, classes) if task == CLASSES and known is None else ""
    listed = [
        [role, [(each.shard.name, each.name, each.size) for each in part.inputs], part.labels.tolist()]
        for role, part in parts.items()
    ]
    loaded = image_data(
        "wds",
        {role: LabelledImages(TarImages.of(part.inputs), part.labels) for role, part in parts.items()},
        num_classes=classes,
        fingerprint=hash_json(listed),
        image_size=request.image_size,
    )
    if parts["train"] is parts.get("test"):
        loaded = replace(loaded, train=loaded.test)  # one part, of which nothing is held back
    notes = (f"{parts['train'].where}: {absent}",) if absent else ()
    return replace(loaded, task=task, notes=(*notes, *loaded.notes))
