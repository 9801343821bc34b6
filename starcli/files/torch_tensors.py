"""Storages and tensors that PyTorch's functions in a pickle stand for, checked before they are made."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starcli.files.pickled_values import Global, RefusedPickle, Skipped
from starcli.files.safetensors import MAXIMUM_DIMENSIONS
from starcli.files.unpickler import dictionary

if TYPE_CHECKING:
    import torch
    from torch import UntypedStorage

LARGEST_SIZE = 2**48
"""Largest size, stride and offset of a tensor."""

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128",
    "ComplexFloat": "complex64", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "Untyped": "uint8",
}  # fmt: skip
"""Dtype of each of PyTorch's classes of storages."""


class StrangeTensor(Skipped):
    """A tensor of a kind that no checkpoint can hold, by its kind: `float32 sparse`."""

    __slots__ = ()


@dataclass(frozen=True)
class Storage:
    """Bytes of tensors, and the dtype that the pickle gives to them."""

    dtype: "torch.dtype"
    content: "UntypedStorage"


def constants() -> Mapping[str, Any]:
    """Names of PyTorch that are plain values: its dtypes."""
    import torch

    return {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


def dtype_of_storage(kind: Any) -> "torch.dtype":
    """Dtype of a class of storages, by its full name: `torch.FloatStorage`."""
    import torch

    name = kind.kind if isinstance(kind, Global) else ""
    module, _, name = name.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage") or name.removesuffix("Storage") not in _STORAGES:
        raise RefusedPickle("a storage of an unknown type")
    found: torch.dtype = getattr(torch, _STORAGES[name.removesuffix("Storage")])
    return found


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    """A tensor in a storage, at `offset`, in elements. ValueError where it would reach beyond its storage."""
    return _placed(storage, offset, size, stride, storage.dtype)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Any:
    """A tensor of a dtype that has no class of storages."""
    return _placed(storage, offset, size, stride, dtype)


def _placed(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], dtype: "torch.dtype") -> Any:
    import torch

    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype) or len(size) > MAXIMUM_DIMENSIONS:
        raise ValueError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(number) is int and 0 <= number < LARGEST_SIZE for number in numbers):
        raise ValueError("a tensor of impossible sizes")
    end = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if 0 not in size and end * dtype.itemsize > storage.content.nbytes():
        raise ValueError("a tensor that reaches beyond its storage")
    if math.prod(size) * dtype.itemsize > storage.content.nbytes():
        return StrangeTensor(
            f"{math.prod(size):,} values in {storage.content.nbytes():,} bytes: they overlap in memory"
        )
    if "qint" in str(dtype) or "quint" in str(dtype):
        return _strange(dtype, "")
    return torch.empty(0, dtype=dtype, device="cpu").set_(storage.content, offset, size, stride)


def _strange(dtype: object, kind: str) -> StrangeTensor:
    return StrangeTensor(f"{str(dtype).removeprefix('torch.')} {kind}".rstrip())


def _sparse(_layout: Any, data: Any) -> StrangeTensor:
    return _strange([each.dtype for each in data if hasattr(each, "dtype")][-1], "sparse")


def _wrapped(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """A tensor with attributes or of a class of its own, which are left out."""
    if isinstance(function, Global) and function.kind in CALLS and function.kind != _WRAPPED:
        return CALLS[function.kind](*arguments)
    return StrangeTensor("a tensor of an unknown class")


_WRAPPED = "torch._tensor._rebuild_from_type_v2"

CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": dictionary,
    "collections.defaultdict": dictionary,
    "collections.Counter": dictionary,
    "builtins.dict": dictionary,
    "torch.Size": lambda sizes=(): sizes if isinstance(sizes, tuple) else Skipped("torch.Size"),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, *_: data,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_qtensor": lambda storage, *_: _strange(storage.dtype, ""),
    "torch._utils._rebuild_meta_tensor_no_storage": lambda dtype, *_: _strange(dtype, "without data"),
    "torch._utils._rebuild_nested_tensor": lambda data, *_: _strange(getattr(data, "dtype", ""), "nested"),
    _WRAPPED: _wrapped,
}
"""What functions and classes give: plain dictionaries and tensors."""
