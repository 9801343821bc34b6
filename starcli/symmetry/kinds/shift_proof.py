"""Proof that the shifts of norms may stand in the biases of the linear maps behind them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.shifts import moved_shifts, with_named_biases
from starcli.symmetry.proof.prove import TOLERANCE


def proved_shifts(proof: KindProof, kinds: Mapping[str, GroupKind]) -> dict[str, GroupKind]:
    """The kinds, whose folds have biases where another shift, made up for by them, leaves the outputs alone."""
    named = {name: with_named_biases(proof.spec, kind) for name, kind in kinds.items()}
    folds = [fold for kind in named.values() for fold in kind.folds if fold.biases]
    refuted = [] if _holds(proof, folds) else [fold for fold in folds if not _holds(proof, [fold])]

    def without(kind: GroupKind) -> GroupKind:
        return replace(kind, folds=tuple(replace(fold, biases={}) if fold in refuted else fold for fold in kind.folds))

    return {name: without(kind) if refuted else kind for name, kind in named.items()}


def _holds(proof: KindProof, folds: Iterable[Fold]) -> bool:
    """Whether the outputs are the same at other shifts."""
    generator = proof.setting.generator
    shifts = [fold.shift.tensor for fold in folds if fold.shift]
    to = {name: torch.randn(proof.spec.shapes[name], generator=generator, dtype=torch.float64) for name in shifts}
    return not to or proof.measured(moved_shifts(proof.spec, proof.base, folds, to)) < TOLERANCE
