"""Normal forms: of all models that scales and matrices make of one, the one of least norm.

Of all models that an element of the symmetry group makes of one, the normal form is the one of least norm whose norm
layers have scales of 1. It is unique but for permutations, rotations and signs, which keep norms: scales and invertible
matrices have no part left in it (Kempf and Ness 1979, "The length of vectors in representation spaces").
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.balanced_scales import balanced_scales
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derivatives import unit_views
from starcli.symmetry.kinds.elements import Acts, acted, conjugated, diagonal_acts, matrix_acts
from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.pairs import balancing_pairs
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.places import GroupPlace

BALANCED = 1e-10
"""Largest relative change of a scale in a sweep at which the sweeps end."""
SWEEPS = 2000
LEAST_SCALE = 1e-3
LEAST_BESIDE_SHIFT = 1e-2
"""Least scale of a norm that weights are divided by, in units of the norm's others and of the shift beside it: float32
holds weights that are a thousand times as large, and biases that make up for a hundred times as large a shift."""
UNSEEN = 1e-12
"""Share of the largest singular value below which what factors do together is nothing."""


def normal_element(kinds: Kinds, tensors: Mapping[str, Tensor]) -> Element:
    """The element that brings the model of `tensors`, a state dict, to its normal form.

    Kept scales of norms become 1, and shifts that biases take 0 (`Kinds.kept`). Scales and matrices then minimise the
    sum of squares of what they act on. What enters a unit has the norm of what leaves it (`balanced_scales`), and of
    two factors W_2 W_1 with singular values S of their product both have sqrt(S) (`balancing_matrix`); pairs of units
    under rotary positions have the same norm in queries and in keys (`balancing_pairs`); where matrices
    meet scales or other matrices on a tensor, in turn until nothing moves. What nothing reads or writes stays.

    The way back leads to the scales and shifts that the norms had, but for scales near zero (`near_zero_scales`), by
    which weights would have to be divided: those are set to their norm's usual size. The function stays the same
    there too.

    StarcliError where the tensors do not fit, are not finite, or have a kept scale of 0 that has to be passed.
    """
    folded = folded_element(kinds, tensors)
    balance = _Balance(kinds, folded.apply(_computable(kinds, tensors)))
    balance.run()
    return replace(folded, matrices=balance.matrices, scales=balance.scales)


def folded_element(kinds: Kinds, tensors: Mapping[str, Tensor]) -> Element:
    """The element that sets kept scales of norms to 1 and shifts to 0, and balances nothing: see `normal_element`."""
    own = _computable(kinds, tensors)
    before = {name: own[name] for name in kinds.kept}
    scales = {fold.scale.tensor: _bounded(fold, own) for kind in kinds.groups.values() for fold in kind.folds}
    frame = {name: torch.full_like(kept, float(name in scales)) for name, kept in before.items()}
    return Element(kinds, Permutation.identity(kinds.spec), frame=frame, before=before | scales)


def near_zero_scales(kinds: Kinds, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many scales of norms are too near zero to be a frame for other models, by tensor; those with some alone.

    These are less than LEAST_SCALE times the root mean square of their norm's, or than LEAST_BESIDE_SHIFT times the
    shift beside them. Of such a unit the line between the model and one that was brought into its frame is not that
    between normal forms.
    """
    folds = [fold for kind in kinds.groups.values() for fold in kind.folds]
    tensors = kinds.spec.seen(tensors)
    own = {name: tensors[name].detach().cpu().double() for fold in folds for name in _scale_and_shift(fold)}
    counts = {fold.scale.tensor: int((_bounded(fold, own) != own[fold.scale.tensor]).sum()) for fold in folds}
    return {name: count for name, count in counts.items() if count}


def _scale_and_shift(fold: Fold) -> list[str]:
    """Names of a norm's scale and, where biases make up for it, of its shift."""
    return [fold.scale.tensor, *([fold.shift.tensor] if fold.shift and fold.biases else [])]


def _bounded(fold: Fold, tensors: Mapping[str, Tensor]) -> Tensor:
    """The scales of a norm; those near zero replaced by its usual size, with their sign: weights stay ordinary."""
    scale, *shift = (tensors[name] for name in _scale_and_shift(fold))
    size = float(scale.square().mean().sqrt()) or 1.0
    least = torch.full_like(scale, LEAST_SCALE * size)
    for each in shift:
        least = torch.maximum(least, LEAST_BESIDE_SHIFT * each.abs())
    usual = least.clamp(min=size)
    return torch.where(scale.abs() < least, torch.where(scale < 0, -usual, usual), scale)


def _computable(kinds: Kinds, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float64 on the CPU. StarcliError where they do not fit or are not finite."""
    kinds.spec.check(tensors)
    found = {n: t.detach().cpu().double() if t.is_floating_point() else t.cpu() for n, t in tensors.items()}
    bad = [name for name, tensor in found.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise StarcliError(
            "a model that is not finite has no normal form", [f"{name}: NaN or infinite" for name in bad]
        )
    return dict(kinds.spec.seen(found))


class _Balance:
    """Scales and matrices that make the tensors of a model smaller, and these tensors as they are by now."""

    def __init__(self, kinds: Kinds, tensors: Mapping[str, Tensor]) -> None:
        """Nothing has been scaled yet."""
        self.spec, self.groups, self.tensors = kinds.spec, kinds.groups, dict(tensors)
        self.matrices: dict[str, Tensor] = {}
        self.scales: dict[str, Tensor] = {}
        for name, kind in kinds.groups.items():
            shape = self.spec.index_shape(name)
            if kind.kind in ("complex", "invertible"):
                self.matrices[name] = torch.eye(shape[-1], dtype=torch.float64).repeat(*shape[:-1], 1, 1)
            elif kind.scalings and kind.kind != "orthogonal":
                self.scales[name] = torch.ones(len(kind.scalings), *shape, dtype=torch.float64)

    def run(self) -> None:
        """Balance scales and matrices in turn until nothing moves."""
        for _ in range(SWEEPS):
            if max(self._scale(), *map(self._turn, self.matrices), 0.0) < BALANCED:
                break

    def _scale(self) -> float:
        """Balance all scales; the largest logarithm of one."""
        at = [(name, number) for name, scales in self.scales.items() for number in range(len(scales))]
        ways = [(name, self.groups[name].scalings[number]) for name, number in at]
        found = balanced_scales(self.spec, self.tensors, ways)
        for (name, number), (_, way), scales in zip(at, ways, found, strict=True):
            self.scales[name][number] *= scales
            self._act(diagonal_acts(scales, way))
        return max((float(scales.log().abs().max()) for scales in found), default=0.0)

    def _turn(self, name: str) -> float:
        """Balance the factors around one group, as all others are; the largest logarithm of a scale of its matrix."""
        kind = self.groups[name]
        g, change = self._matrix(kind)
        self.matrices[name] = g @ self.matrices[name]
        still = conjugated(self.spec, self.tensors, kind.exponents, ())
        self._act(matrix_acts(g, kind.exponents, still, still))
        return change

    def _act(self, acts: Acts) -> None:
        self.tensors |= acted(self.spec, self.tensors, acts)

    def _matrix(self, kind: GroupKind) -> tuple[Tensor, float]:
        """The matrix (parents..., n, n) that balances what it acts on, and the largest logarithm of a scale of it."""
        written, read = (
            torch.cat([self._rows(p) for p, e in kind.exponents.items() if e == side], -1) for side in (1, -1)
        )
        axes = {(place.tensor, place.axis) for place in kind.exponents}
        power = 1 / max(Counter(tensor for tensor, _ in axes).values())
        if kind.pairs:
            return balancing_pairs(written, read, kind.pairs, power)
        return balancing_matrix(written, read, power)

    def _rows(self, place: GroupPlace) -> Tensor:
        """What a place bears, (parents..., n, rest)."""
        shape = self.spec.index_shape(place.group)
        views = unit_views(self.spec, place, self.tensors[place.tensor])
        return torch.cat([view.reshape(*shape, -1) for view in views], dim=-1)


def balancing_matrix(written: Tensor, read: Tensor, power: float = 1.0) -> tuple[Tensor, float]:
    """The positive matrix g that makes |g W|^2 + |g^-T R|^2 least, and its largest absolute logarithm.

    For W = `written` and R = `read`, (..., n, rest). With R^T W = U S V^T both become sqrt(S) in some basis: where g is
    X' up to a rotation, X' = S^-1/2 U^T R^T. Units that R^T W does not see are made orthogonal to the others, and stay
    otherwise. `power`: of g; 1/2 is half way there.
    """
    q, r = (torch.linalg.qr(each.transpose(-1, -2)).R for each in (written, read))  # W = q^T Q^T
    u, s, v = torch.linalg.svd(r @ q.transpose(-1, -2), full_matrices=False)
    seen = s > UNSEEN * s[..., :1]
    root = torch.where(seen, s, 1.0).rsqrt() * seen
    to = root.unsqueeze(-1) * (u.transpose(-1, -2) @ r)  # X', (..., seen, n)
    back = q.transpose(-1, -2) @ (v.transpose(-1, -2) * root.unsqueeze(-2))  # (..., n, seen), X' back = 1
    rest = torch.eye(to.shape[-1], dtype=to.dtype) - back @ to
    _, scale, basis = torch.linalg.svd(torch.cat([to, rest], dim=-2), full_matrices=False)
    logs = power * scale.log()
    g = basis.transpose(-1, -2) @ (logs.exp().unsqueeze(-1) * basis)
    return g, float(logs.abs().max())
