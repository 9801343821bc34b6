"""State dicts that never exist as a whole: tensors are made one by one when they are asked for, and written so."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.files.tensor_layout import BYTES_PER_ELEMENT, tensor_header
from starcli.files.write import raw_bytes, replacing
from starcli.runtime.rehearsal import few_if_rehearsed, present_rehearsal

if TYPE_CHECKING:
    from torch import Tensor


FLOAT_DTYPES = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64")
"""The format's names of floating-point dtypes."""


@dataclass(frozen=True)
class TensorForm:
    """The form of a tensor that is not made yet: its dtype in the words of the safetensors format, and its shape.

    >>> TensorForm("BF16", (3, 4)).nbytes
    24
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether its numbers are floats."""
        return self.dtype in FLOAT_DTYPES

    @property
    def nbytes(self) -> int:
        """Size of its data."""
        return self.numel * BYTES_PER_ELEMENT[self.dtype]


class LazyTensors(Mapping[str, "Tensor"]):
    """State dict, sorted by names, of which each tensor is made anew by `make(name)` whenever it is asked for.

    prepare: work that comes before the first one; who writes them calls it, and else `make` does it.
    """

    def __init__(
        self,
        forms: Mapping[str, TensorForm],
        make: Callable[[str], "Tensor"],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.forms, self._make, self.prepare = dict(sorted(forms.items())), make, prepare

    def __getitem__(self, name: str) -> "Tensor":
        if name not in self.forms:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.forms)

    def __len__(self) -> int:
        return len(self.forms)


Each = Callable[[str, "Tensor"], None]
"""What sees each tensor that is written, in the order of their names."""


def write_lazily(
    path: Path,
    tensors: LazyTensors,
    metadata: Callable[[], Mapping[str, str]],
    each: Each = lambda *_: None,
    *,
    into: Path | None = None,
) -> None:
    """Write a safetensors file, whole or not at all, of which one tensor at a time is in memory.

    metadata: called before and after all tensors were made; both texts have one length. They may say what `each` saw.
    into: as of `replacing`.
    """
    forms = {name: (form.dtype, form.shape) for name, form in tensors.forms.items()}
    before, places = tensor_header(forms, metadata())
    tensors.prepare()
    if (rehearsal := present_rehearsal()) is not None:
        with rehearsal.part("merging of tensors", len(places)):
            for name in few_if_rehearsed(places, len(places)):
                each(name, tensors[name])
        rehearsal.wrote(path, len(before) + sum(form.nbytes for form in tensors.forms.values()))
        return
    with replacing(path, into) as temporary, temporary.open("rb+") as handle:
        for name, begin in places.items():
            tensor = tensors[name].contiguous()
            each(name, tensor)
            handle.seek(len(before) + begin)
            handle.write(raw_bytes(tensor))
        after, _ = tensor_header(forms, metadata())
        assert len(after) == len(before)
        handle.seek(0)
        handle.write(after)
