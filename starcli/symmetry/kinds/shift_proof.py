"""Proof that biases of the next linear layers can hold the shifts of normalisation layers in their place."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.kinds.derivatives import gradients_at
from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.shifts import moved_shifts, with_named_biases
from starcli.symmetry.proof.places import GroupPlace
from starcli.symmetry.proof.trial import TOLERANCE

NO_SLOPE = 1e-6
"""Largest derivative along a shift and the biases that make up for it, as a share of its parts, that may be zero."""


def proved_shifts(proof: KindProof, kinds: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """The kinds, whose folds have biases where another shift, made up for by them, leaves the outputs alone.

    All are tried together; where that fails, those along which a derivative is zero, and then each of these alone.
    """
    named = {name: with_named_biases(proof.spec, kind) for name, kind in kinds.items()}
    folds = [fold for kind in named.values() for fold in kind.folds if fold.biases]
    holding = folds
    if not _holds(proof, folds):
        holding = _flat(proof, folds)
        holding = holding if _holds(proof, holding) else [fold for fold in holding if _holds(proof, [fold])]

    def without(kind: GroupKind) -> GroupKind:
        return replace(kind, folds=tuple(fold if fold in holding else replace(fold, biases={}) for fold in kind.folds))

    return {name: kind if holding is folds else without(kind) for name, kind in named.items()}


def _holds(proof: KindProof, folds: Sequence[Fold]) -> bool:
    """Whether the outputs are the same at other shifts."""
    return not folds or proof.measured(moved_shifts(proof.spec, proof.base, folds, _drawn(proof, folds))) < TOLERANCE


def _flat(proof: KindProof, folds: Sequence[Fold]) -> list[Fold]:
    """Those of the folds along whose shifts, made up for by biases, a derivative of the outputs is zero."""
    spec, reference, generator = proof.spec, proof.reference, proof.setting.generator
    at = {
        GroupPlace(tensor, 0, 0, fold.shift.group)
        for fold in folds
        if fold.shift
        for tensor in (fold.shift.tensor, *fold.biases.values())
    }
    once = dict.fromkeys((place.group for place in at), 1)
    try:
        [(_, gradients)] = gradients_at(spec, reference, at, once, generator, reference.inputs)
    except (RuntimeError, StarcliError):
        return list(folds)
    found = []
    for fold in folds:
        moved = moved_shifts(spec, proof.base, [fold], _drawn(proof, [fold]))
        parts = [float((gradients[name] * (to - proof.base[name])).sum()) for name, to in moved.items()]
        if abs(sum(parts)) <= NO_SLOPE * max(map(abs, parts)):
            found.append(fold)
    return found


def _drawn(proof: KindProof, folds: Sequence[Fold]) -> dict[str, Tensor]:
    """Other shifts, drawn at random."""
    names = [fold.shift.tensor for fold in folds if fold.shift]
    return {
        name: torch.randn(proof.spec.shapes[name], generator=proof.setting.generator, dtype=torch.float64)
        for name in names
    }
