"""Tensors of safetensors files read in slices: no memory is mapped, so that what was read is not kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError
from starcli.files.lazy_tensors import TensorForm
from starcli.files.shards import tensor_places
from starcli.files.tensor_layout import BYTES_PER_ELEMENT, DTYPES
from starcli.files.write import raise_os_error

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class SlicedTensor:
    """A tensor in a file: its form, the file, and where in it the data begin."""

    form: TensorForm
    path: Path
    begin: int

    def read(self, begin: int, end: int) -> "Tensor":
        """The numbers from one place to another, as one axis. StarcliError where the file cannot be read any more."""
        import torch

        size = BYTES_PER_ELEMENT[self.form.dtype]
        content = torch.empty((end - begin) * size, dtype=torch.uint8)
        try:
            with self.path.open("rb") as handle:
                handle.seek(self.begin + begin * size)
                found = handle.readinto(content.numpy().data) if len(content) else 0
        except OSError as error:
            raise_os_error(self.path, error, "read")
        if found != len(content):
            raise StarcliError(f"{self.path}: was cut while it was read")
        return content.view(torch_dtype(self.form.dtype))


def sliced_tensors(path: Path) -> Mapping[str, SlicedTensor]:
    """The tensors of a safetensors file or its shards. Errors as of `read_header` and `read_index`."""
    places = tensor_places(path).items()
    return {name: SlicedTensor(TensorForm(info.dtype, info.shape), file, begin) for name, (file, begin, info) in places}


def torch_dtype(word: str) -> "torch.dtype":
    """The dtype that the safetensors format calls `word`."""
    import torch

    [name] = [name for name, each in DTYPES.items() if each == word]
    dtype: torch.dtype = getattr(torch, name.removeprefix("torch."))
    return dtype


@dataclass(frozen=True)
class HeldTensor:
    """A tensor in memory, to be read as `SlicedTensor` is."""

    tensor: "Tensor"

    @property
    def form(self) -> TensorForm:
        """Dtype and shape of the tensor."""
        return TensorForm(DTYPES[str(self.tensor.dtype)], tuple(self.tensor.shape))

    def read(self, begin: int, end: int) -> "Tensor":
        """The numbers from one place to another, as one axis."""
        return self.tensor.reshape(-1)[begin:end]


Slices = SlicedTensor | HeldTensor
"""A tensor that is read in slices."""
