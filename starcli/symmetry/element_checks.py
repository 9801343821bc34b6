"""Checks of the tensors that a file holds as an element of a network's symmetry group."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.pairs import pair_matrices, pair_numbers

WORST_CONDITION = 1e12
"""Condition number beyond which a matrix counts as having no inverse."""
HELD = 1e-5
"""How far a matrix of a file may be from orthogonal: float32 holds no better one."""


def element_problems(kinds: Kinds, parts: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    """Problems of the parts of a file, one line each."""
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if part in ("frame", "before"):
                shape = kinds.spec.shapes[name] if name in kinds.kept else None
            else:
                shape = _shape(kinds, name, part)
            if shape is None:
                yield f"{part} of {name}: the network has none"
            elif tuple(tensor.shape) != tuple(shape) or not tensor.is_floating_point():
                yield f"{part} of {name}: {tensor.dtype} {tuple(tensor.shape)}, not torch.float64 {tuple(shape)}"
            elif problem := _problem(kinds, name, part, tensor.double()):
                yield f"{part} of {name}: {problem}"


def _shape(kinds: Kinds, group: str, part: str) -> tuple[int, ...] | None:
    """The shape of a part of an element for a group; None where it has none."""
    kind = kinds.groups.get(group)
    if kind is None:
        return None
    shape, rotates = kinds.spec.index_shape(group), kind.by_matrix
    if part == "matrix":
        return (*shape, shape[-1]) if rotates else None
    ways = kind.signs if part == "signs" else () if rotates else kind.scalings
    return (len(ways), *shape) if ways else None


def _problem(kinds: Kinds, name: str, part: str, tensor: Tensor) -> str:
    """What is wrong with the values of a part; "" where nothing is."""
    if not bool(tensor.isfinite().all()):
        return "not all values are finite"
    if part == "scales":
        return "" if bool((tensor > 0).all()) else "scales are positive"
    if part == "signs":
        return "" if bool((tensor.abs() == 1).all()) else "signs are 1 or -1"
    if part != "matrix":
        return ""
    kind, eye = kinds.groups[name], torch.eye(tensor.shape[-1], dtype=tensor.dtype)
    if kind.kind == "invertible":
        return "" if float(torch.linalg.cond(tensor).max()) < WORST_CONDITION else "it has no inverse"
    if kind.pairs:
        numbers = pair_numbers(tensor, kind.pairs)
        if not torch.allclose(pair_matrices(numbers, kind.pairs), tensor, atol=HELD * float(tensor.abs().max())):
            return f"it is none of complex numbers that act on pairs, {kind.pairs}"
        return "" if bool((numbers.abs() > 0).all()) else "it has no inverse"
    if not torch.allclose(tensor @ tensor.transpose(-1, -2), eye.expand(tensor.shape), atol=HELD):
        return "it is not orthogonal"
    if kind.fixes_ones and not torch.allclose(tensor.sum(-1), torch.ones((), dtype=tensor.dtype), atol=HELD):
        return "it does not leave (1, ..., 1) as it is"
    return ""
