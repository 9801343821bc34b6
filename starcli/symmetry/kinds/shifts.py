"""Shifts (beta) of normalisation layers, which the biases of the next linear layers can hold in their place.

What reads gamma x + beta computes W (gamma x + beta) + b. Any other beta' in place of beta gives the same with the bias
b + W (beta - beta'): with beta' = 0 the shift is folded, as the scale is that goes into W.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import is_stack
from starcli.symmetry.kinds.elements import spread_values, unit_values
from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.proof.places import GroupPlace


def with_named_biases(spec: Resolved, kind: GroupKind) -> GroupKind:
    """`kind` with the biases that its shifts can move to: those of the layers that read the norm, found by their names.

    Of a norm that some layer without such a bias reads there are none.
    """
    return replace(kind, folds=tuple(replace(fold, biases=_named_biases(spec, fold)) for fold in kind.folds))


def moved_shifts(
    spec: Resolved, tensors: Mapping[str, Tensor], folds: Iterable[Fold], to: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The tensors that change when the shifts of `folds` become those of `to`, or 0; float64, with gradients."""
    changed: dict[str, Tensor] = {}
    for fold in folds:
        shift = fold.shift
        assert shift is not None  # as it has biases
        before = tensors[shift.tensor].double()
        after = torch.zeros_like(before) if to is None else to[shift.tensor].double()
        for reader in fold.readers:
            bias = fold.biases[reader.tensor]
            own = changed.get(bias, tensors[bias].double())
            part = unit_values(spec, shift, before - after)
            weight, members = tensors[reader.tensor].double(), shift.members(spec)
            changed[bias] = own + _read(spec, reader, weight, part, members)
        changed[shift.tensor] = after
    return changed


def _named_biases(spec: Resolved, fold: Fold) -> dict[str, str]:
    """For each weight that reads the norm of a fold the bias that has its name, of one number an output."""
    found = {}
    for reader in fold.readers if fold.shift else ():
        outputs = tuple(spec.shapes[reader.tensor][axis] for axis in _output_axes(reader))
        names = (bias_name(name) for name in spec.names_of(reader.tensor))
        bias = next((name for name in names if spec.shapes.get(name) == outputs), None)
        if bias is None:
            return {}
        found[reader.tensor] = spec.names_of(bias)[0]
    return found


def bias_name(weight: str) -> str:
    """The name of the bias of a weight.

    >>> bias_name("attn.in_proj_weight")
    'attn.in_proj_bias'
    """
    module, dot, last = weight.rpartition(".")
    return f"{module}{dot}{last.replace('weight', 'bias')}"


def _output_axes(reader: GroupPlace) -> list[int]:
    """The axes of a weight that are not read: its first one, or the second where the first is; that of modules."""
    first = int(is_stack(reader.tensor))
    return [*range(first), first if reader.own_axis else first + 1]


def _read(spec: Resolved, reader: GroupPlace, weight: Tensor, units: Tensor, members: str | None) -> Tensor:
    """What a weight makes of values of the units that it reads (see `spread_values`): one number an output."""
    spread, axes = torch.zeros_like(weight), _output_axes(reader)
    for view, values in spread_values(spec, reader, spread, units, members):
        view.copy_(values)
    return (weight * spread).movedim(axes, [*range(len(axes))]).flatten(len(axes)).sum(len(axes))
