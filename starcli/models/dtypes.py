"""Types of weights: files keep theirs, tensor by tensor; means of several models have a type that holds all of them."""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError


def float_types(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the floating-point types in a state dict, sorted.

    >>> float_types({"weight": torch.zeros(2, dtype=torch.float16), "count": torch.tensor(1)})
    ['float16']
    """
    return sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()})


def common_types(models: Sequence[Mapping[str, Tensor]]) -> dict[str, torch.dtype]:
    """For each floating-point tensor that all `models` have, the type that holds those of all.

    >>> half, double = ({"weight": torch.zeros(2, dtype=dtype)} for dtype in (torch.float16, torch.float64))
    >>> common_types([half, double])
    {'weight': torch.float64}
    """
    return {
        name: holding_type([model[name].dtype for model in models if name in model])
        for name, tensor in models[0].items()
        if tensor.is_floating_point()
    }


def holding_type(types: Sequence[torch.dtype]) -> torch.dtype:
    """The type that holds all values of these floating-point types.

    >>> holding_type([torch.float16, torch.bfloat16])
    torch.float32
    """
    return reduce(_holding, types)


def _holding(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    if one == other:
        return one
    wide = (torch.float32 if each.itemsize == 1 else each for each in (one, other))  # torch promotes no 8 bits
    return torch.promote_types(*wide)


AS_TWO_REAL_NUMBERS = (
    "make it a real one with a last axis of 2, and use torch.view_as_complex of it in the forward pass"
)
"""What to do with a complex parameter."""


def cast_floats_(network: nn.Module, dtype: torch.dtype, device: str | None = None) -> nn.Module:
    """Cast all floats of a network, in place, and nothing complex; with a device, move everything there.

    Both in one pass: a recurrent network computes weights that are parametrised anew in each.

    `network.to(dtype)` would take the imaginary part away from complex buffers, such as rotary factors.

    >>> network = nn.Linear(2, 3)
    >>> network.register_buffer("turns", torch.tensor([1j]), persistent=False)
    >>> cast_floats_(network, torch.float32).turns
    tensor([0.+1.j])
    """

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

    network._apply(cast)  # type: ignore[no-untyped-call]
    return network


def refuse_unwritable(state: Mapping[str, object], name: str) -> None:
    """Raise StarcliError where the state dict of a model, called `name`, has a tensor of complex128.

    safetensors files have no such type.
    """
    wide = [key for key, value in state.items() if isinstance(value, Tensor) and value.dtype == torch.complex128]
    if wide:
        ways = "make it complex64, or leave it out: register_buffer(..., persistent=False)"
        raise StarcliError(f"{name}: {wide[0]} is complex128, which no checkpoint holds", [ways])


def in_type(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """`tensors`, all floats in the type called `dtype`. Errors as of `in_types`."""
    return in_types(tensors, getattr(torch, dtype))


def in_types(tensors: Mapping[str, Tensor], types: torch.dtype | Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """`tensors`, those of floats in a type each or in one for all; others stay as they are.

    Raises StarcliError with every tensor whose values are too large for its type.

    >>> in_types({"weight": torch.ones(2), "count": torch.tensor(1)}, torch.float16)
    {'weight': tensor([1., 1.], dtype=torch.float16), 'count': tensor(1)}
    """
    found, problems = {}, []
    for name, tensor in tensors.items():
        dtype = types if isinstance(types, torch.dtype) else types.get(name, tensor.dtype)
        found[name] = tensor
        if tensor.is_floating_point() and tensor.dtype != dtype:
            found[name] = tensor.to(dtype)
            if not found[name].isfinite().all() and tensor.isfinite().all():
                problems.append(
                    f"{name}: {float(tensor.abs().max()):.3g}, {dtype} ends at {torch.finfo(dtype).max:.3g}"
                )
    if problems:
        raise StarcliError("values are too large for the type that is to be written", problems)
    return found
