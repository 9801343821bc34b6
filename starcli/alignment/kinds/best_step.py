"""The best element of one root group and all within it, for given gains: assignment, signs, Procrustes.

What a matrix of gains M[i, j] = <unit i of the reference, unit j of the model> allows at most is

    permutations   max over p  sum_i M[i, p[i]]                     an assignment
    signs          the same of max over s of s M[i, j]
    rotations      max over Q  <Q, M> = sum of singular values      Q = U V^T of M = U S V^T (Schoenemann 1966)
    of pairs       max over z  Re(conj(z) c) = |c|, |z| = 1         z = c / |c|, c of each pair (see `pairs`)

and units that have groups within them gain, as a pair, what these can do at most.
"""

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.alignment.kinds.paths import Gains
from starcli.alignment.matching.linear_assignment import assign
from starcli.symmetry.kinds.elements import complement_of_ones
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.pairs import nearest_phases, phase_values


@dataclass(frozen=True)
class Parts:
    """Parts of elements by group, each with a batch in front: indices, signs (batch, ways, ...) and matrices."""

    index: dict[str, Tensor] = field(default_factory=dict)
    signs: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, Tensor] = field(default_factory=dict)


def best_values(kinds: Kinds, group: str, gains: Gains) -> Tensor:
    """The largest gain of `group` with all groups within it: (batch,)."""
    if kinds.groups[group].by_matrix:
        return _rotation_values(_single(gains), kinds.groups[group])
    pairs, _ = _pairs(kinds, group, gains)
    return torch.stack([each.gather(1, _assigned(each).unsqueeze(1)).sum() for each in pairs])


def best_parts(kinds: Kinds, group: str, gains: Gains) -> Parts:
    """The parts of the element of `group` and all within it that gains most."""
    if kinds.groups[group].by_matrix:
        return Parts(matrices={group: _best_rotation(_single(gains), kinds.groups[group])})
    pairs, signs = _pairs(kinds, group, gains)
    order = torch.stack([_assigned(each) for each in pairs])  # (batch, n)
    made = Parts(index={group: order})
    if signs is not None:
        made.signs[group] = signs.gather(3, order[:, None, :, None].expand(*signs.shape[:3], 1)).squeeze(3)
    batch, n = order.shape
    rows, new = torch.arange(batch)[:, None], torch.arange(n)
    for child, below in _within(gains).items():
        # of each pair that was chosen, the child's gains: (batch n, ...)
        chosen = {key: each[rows, new, order].flatten(0, 1) for key, each in below.items()}
        parts = best_parts(kinds, child, chosen)
        for mine, its in zip(
            (made.index, made.signs, made.matrices), (parts.index, parts.signs, parts.matrices), strict=True
        ):
            mine |= {name: each.reshape(batch, n, *each.shape[1:]) for name, each in its.items()}
    return made


def nearest_rotation(gains: Tensor, *, fix_ones: bool = False) -> Tensor:
    """The rotation Q that maximises <Q, gains>, (..., n, n); `fix_ones`: among those with Q (1, ..., 1) = (1, ..., 1).

    >>> nearest_rotation(torch.tensor([[2.0, 0.0], [0.0, -3.0]]))
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    if fix_ones:
        basis = complement_of_ones(gains.shape[-1])
        inner = nearest_rotation(basis.T @ gains @ basis)
        return basis @ inner @ basis.T + 1 / gains.shape[-1]
    left, _, right = torch.linalg.svd(gains)
    rotation: Tensor = left @ right
    return rotation


def _best_rotation(gains: Tensor, kind: GroupKind) -> Tensor:
    """The rotation of a kind that gains most, (batch, n, n)."""
    return nearest_phases(gains, kind.pairs) if kind.pairs else nearest_rotation(gains, fix_ones=kind.fixes_ones)


def _rotation_values(gains: Tensor, kind: GroupKind) -> Tensor:
    """What rotations of a kind gain at most, (batch,)."""
    if kind.pairs:
        return phase_values(gains, kind.pairs)
    if kind.fixes_ones:
        basis = complement_of_ones(gains.shape[-1])
        return _singular_values(basis.T @ gains @ basis) + gains.sum((-1, -2)) / gains.shape[-1]
    return _singular_values(gains)


def _singular_values(gains: Tensor) -> Tensor:
    """Sums of singular values, (batch,)."""
    values: Tensor = torch.linalg.svdvals(gains)
    return values.sum(-1)


def _single(gains: Gains) -> Tensor:
    """The gains of a group without groups within it, (batch, n, n)."""
    return torch.stack(list(gains.values())).sum(0)


def _within(gains: Gains) -> dict[str, dict[tuple[tuple[str, ...], frozenset[int]], Tensor]]:
    """The gains of groups within, by child: (batch, n, n, sizes..., sizes...), a match of the n units around first."""
    found: dict[str, dict[tuple[tuple[str, ...], frozenset[int]], Tensor]] = {}
    for (groups, ways), each in gains.items():
        if len(groups) > 1:
            found.setdefault(groups[1], {})[groups[1:], ways] = each.movedim(1 + len(groups), 2)
    return found


def _pairs(kinds: Kinds, group: str, gains: Gains) -> tuple[Tensor, Tensor | None]:
    """What each pair of units gains at most, (batch, n, n), and by which signs, (batch, ways, n, n)."""
    own = {ways: each for (groups, ways), each in gains.items() if len(groups) == 1}
    below = [_child_values(kinds, child, parts) for child, parts in _within(gains).items()]
    count = len(kinds.groups[group].signs)
    if not own or not count:
        return torch.stack([*own.values(), *below]).sum(0), None
    patterns = torch.tensor(list(itertools.product((1.0, -1.0), repeat=count)), dtype=torch.float64)  # (2^ways, ways)
    totals = [
        torch.stack([pattern[sorted(ways)].prod() * each for ways, each in own.items()]).sum(0) for pattern in patterns
    ]
    best = torch.stack(totals).max(0)
    return torch.stack([best.values, *below]).sum(0), patterns[best.indices].movedim(-1, 1)


def _child_values(kinds: Kinds, child: str, gains: Gains) -> Tensor:
    """What a group gains at most within each pair of the units around it, (batch, n, n)."""
    shape = next(iter(gains.values())).shape[:3]
    return best_values(kinds, child, {key: each.flatten(0, 2) for key, each in gains.items()}).reshape(shape)


def _assigned(gains: Tensor) -> Tensor:
    """The old unit at each new position, (n,)."""
    return torch.from_numpy(assign(gains.numpy()))
