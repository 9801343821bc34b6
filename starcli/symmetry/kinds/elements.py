"""Finite elements of the kinds, drawn at random and well conditioned, and how they act on tensors."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.kinds.derivatives import place_blocks, unit_view, unit_views
from starcli.symmetry.kinds.group_kind import Exponents, Fold, GroupKind
from starcli.symmetry.kinds.pairs import random_pairs
from starcli.symmetry.proof.places import GroupPlace

Acts = Mapping[GroupPlace, Tensor]
"""What acts at each place: matrices (parents..., n, n) or diagonals (parents..., n)."""
MOST_ROTATED = 256
WIDE = 256.0
"""Largest scale of an element: diagonal ones add no rounding, and matrices are as well conditioned without it."""


def random_signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Signs of shape (parents..., n), about half of them negative, and at least one."""
    signs = torch.where(torch.rand(shape, generator=generator) < 0.5, -1.0, 1.0).double()
    signs[..., 0] = -1.0
    return signs


def random_scales(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Scales of shape (parents..., n), between 1 / WIDE and WIDE, which the first is.

    What is linear or homogeneous near the generic weights alone, below the bound of a ReLU6, shows.
    """
    scales = WIDE ** (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
    scales[..., 0] = WIDE
    return scales


def random_rotation(shape: tuple[int, ...], generator: torch.Generator, *, fix_ones: bool = False) -> Tensor:
    """Orthogonal matrices of shape (parents..., n, n), uniformly distributed; `fix_ones`: that leave (1, ..., 1) alone.

    Of many units only MOST_ROTATED, drawn at random, rotate: with all permutations these matrices generate the others.

    >>> q = random_rotation((4,), torch.Generator().manual_seed(0), fix_ones=True)
    >>> bool(torch.allclose(q @ q.T, torch.eye(4).double())), bool(torch.allclose(q.sum(1), torch.ones(4).double()))
    (True, True)
    """
    *parents, n = shape
    if n > MOST_ROTATED:
        some = torch.randperm(n, generator=generator)[:MOST_ROTATED]
        whole = torch.eye(n, dtype=torch.float64).expand(*parents, n, n).clone()
        whole[..., some.unsqueeze(-1), some] = random_rotation((*parents, MOST_ROTATED), generator, fix_ones=fix_ones)
        return whole
    inner = n - 1 if fix_ones else n
    q: Tensor
    q, r = torch.linalg.qr(torch.randn(*parents, inner, inner, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1)).unsqueeze(-2)  # uniform (Mezzadri 2007)
    if not fix_ones:
        return q
    basis = complement_of_ones(n)
    return basis @ q @ basis.T + 1 / n


def complement_of_ones(n: int) -> Tensor:
    """An orthonormal basis (n, n - 1), float64, of what is orthogonal to (1, ..., 1).

    >>> basis = complement_of_ones(4)
    >>> basis.shape, bool(torch.allclose(basis.sum(0), torch.zeros(3).double()))
    (torch.Size([4, 3]), True)
    """
    first = torch.cat([torch.ones(n, 1), torch.eye(n)[:, : n - 1]], dim=1).double()
    basis: Tensor = torch.linalg.qr(first).Q[:, 1:]
    return basis


def random_invertible(shape: tuple[int, ...], generator: torch.Generator, *, wide: float = WIDE) -> Tensor:
    """Invertible matrices of shape (parents..., n, n): `wide` times ones with singular values between 1/2 and 2."""
    left, right = (random_rotation(shape, generator) for _ in range(2))
    values = 2 ** (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
    return wide * left @ (values.unsqueeze(-1) * right)


def random_matrix(kind: GroupKind, shape: tuple[int, ...], generator: torch.Generator, *, wide: float = WIDE) -> Tensor:
    """A matrix (parents..., n, n) of a kind of which matrices act, as large as `wide` unless it rotates."""
    if kind.pairs:
        return random_pairs(shape, kind.pairs, generator, wide=wide)
    if kind.kind == "invertible":
        return random_invertible(shape, generator, wide=wide)
    return random_rotation(shape, generator, fix_ones=kind.fixes_ones)


def diagonal_acts(g: Tensor, exponents: Exponents) -> Acts:
    """The diagonal g (parents..., n) as it acts at each place: g^e."""
    return {place: g**e for place, e in exponents.items()}


def matrix_acts(g: Tensor, exponents: Exponents, before: Acts, after: Acts) -> Acts:
    """The matrix g (parents..., n, n) as it acts at each place: D_after g D_before^-1 where the exponent is 1.

    Where it is -1, with the inverse transpose of g. `before` and `after` are the diagonals at each place, as
    `conjugated` makes them.
    """
    other = inverse(g).transpose(-1, -2) if any(e < 0 for e in exponents.values()) else g
    return {
        place: after[place].unsqueeze(-1) * (g if e > 0 else other) / before[place].unsqueeze(-2)
        for place, e in exponents.items()
    }


def unit_values(spec: Resolved, place: GroupPlace, tensor: Tensor) -> Tensor:
    """The values (parents..., n) of a tensor that has one for each unit: a scale, a shift.

    Of one that every module of a list has for itself (parents..., n, members).
    """
    [view] = unit_views(spec, place, tensor.double())
    return view.reshape(*spec.index_shape(place.group), *([-1] if place.members(spec) else []))


def spread_values(
    spec: Resolved, place: GroupPlace, tensor: Tensor, values: Tensor, members: str | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each view (parents..., n, rest...) of what a place bears, and the values of its units as they stand in that.

    Values are (parents..., n) or, for each unit of the group `members` besides, (parents..., n, members).
    """
    for block, k in place_blocks(spec, place):
        view, front = unit_view(block, k, tensor), (*block.parents[k], k)
        shape = [*values.shape[: len(front)], *[1] * (view.dim() - len(front))]
        if members:
            rest = [group for axis, group in enumerate(block.groups) if axis not in front]
            shape[len(front) + rest.index(members)] = values.shape[-1]
        yield view, values.reshape(shape)


def conjugated(
    spec: Resolved, tensors: Mapping[str, Tensor], at: Iterable[GroupPlace], folds: Iterable[Fold]
) -> dict[GroupPlace, Tensor]:
    """For each place the diagonal (parents..., n) of D, where rotations g act as D g D^-1: of `Fold`s not folded.

    Scales that every module of a list has for itself are 1 there (see `member_scales`).
    """
    made = {place: torch.ones(spec.index_shape(place.group), dtype=torch.float64) for place in at}
    for fold in (fold for fold in folds if not fold.scale.members(spec)):
        scale = unit_values(spec, fold.scale, tensors[fold.scale.tensor])
        for place, e in fold.exponents.items():
            if place in made:
                made[place] = made[place] * scale**e
    return made


def acted(spec: Resolved, tensors: Mapping[str, Tensor], acts: Acts) -> dict[str, Tensor]:
    """The tensors that change when these act, in float64; what acts may require gradients."""
    names = dict.fromkeys(place.tensor for place in acts)
    changed = {name: tensors[name].to(torch.float64, copy=True) for name in names}
    act_(spec, changed, acts)
    return changed


def act_(spec: Resolved, tensors: Mapping[str, Tensor], acts: Acts) -> None:
    """Act on `tensors`, of float64, in place; at places of one tensor one after the other."""
    for place, act in acts.items():
        shape = spec.index_shape(place.group)
        diagonal = act.dim() == len(shape)
        for view in unit_views(spec, place, tensors[place.tensor]):
            if diagonal and not act.requires_grad:
                view.mul_(act.reshape(*shape, *[1] * (view.dim() - len(shape))))
                continue
            if not diagonal and not act.requires_grad and shape[-1] > MOST_ROTATED:
                _act_on_moving_(view, act)
                continue
            rest = view.reshape(*shape, -1)
            rest = rest.clone() if act.requires_grad else rest  # what gradients need must not be written over
            made = act.unsqueeze(-1) * rest if diagonal else act @ rest
            view.copy_(made.reshape(view.shape))


def inverse(act: Tensor) -> Tensor:
    """The inverse of matrices (parents..., n, n), which may leave most of the n units alone."""
    some = _moving(act) if act.shape[-1] > MOST_ROTATED else torch.arange(act.shape[-1])
    made = act.clone()
    made[..., some.unsqueeze(-1), some] = torch.linalg.inv(act[..., some.unsqueeze(-1), some])
    return made


def _moving(act: Tensor) -> Tensor:
    """The numbers of the units that some of the matrices (parents..., n, n) do not leave alone."""
    n = act.shape[-1]
    other = (act != torch.eye(n, dtype=act.dtype)).reshape(-1, n, n).any(dim=0)
    return (other.any(dim=0) | other.any(dim=1)).nonzero().flatten()


def _act_on_moving_(view: Tensor, act: Tensor) -> None:
    """Multiply a block (parents..., n, rest...), in place, by matrices that leave most of the n units alone."""
    some = _moving(act)
    axis = act.dim() - 2
    moving = view.index_select(axis, some)
    made = act.index_select(-1, some).index_select(-2, some) @ moving.reshape(*act.shape[:-2], len(some), -1)
    view.index_copy_(axis, some, made.reshape(moving.shape))
