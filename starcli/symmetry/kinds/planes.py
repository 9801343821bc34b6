"""Pairs of units that turn together at two places: derivatives along rotations of one plane that cancel.

Let M be the matrix of a place (see `derivatives`). Where a rotation of the plane of units i and j at one place, and of
k and l at another, leaves the outputs alone, (M_ij - M_ji) + (M'_kl - M'_lk) is zero, whatever is projected. So all
planes of all places are compared at once, by sorting. Scales of the two planes, one inverse to the other, leave them
alone where M_ii + M_jj = M'_kk + M'_ll.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from starcli.symmetry.archspec.kind_names import PAIR_LAYOUTS, PairLayout
from starcli.symmetry.kinds.pairs import pair_slices

CANCELLED = 1e-10
"""Largest sum of two derivatives that cancel, as a share of the largest entry of M."""
SEEN = 1e-7
"""Least derivative that is looked at, likewise."""
Plane = tuple[int, int, int]
"""The number of a place, and two units there."""
Pairs = list[tuple[int, int]]


def turning_pairs(found: Sequence[Tensor]) -> dict[tuple[int, int], tuple[Pairs, Pairs]]:
    """For two places each, by their numbers, the pairs of units that turn and scale together, in the first's order.

    `found` has M (passes, d, d) of every place. Units of more than one such plane are left out: more acts on those.
    """
    both = _cancelling(found)
    met = Counter((place, unit) for planes in both for place, *units in planes for unit in units)
    made: dict[tuple[int, int], tuple[Pairs, Pairs]] = defaultdict(lambda: ([], []))
    for first, second in sorted(both):
        alone = all(met[place, unit] == 1 for place, *units in (first, second) for unit in units)
        if alone and _scale(found, first, second):
            pairs, others = made[first[0], second[0]]
            pairs.append(first[1:])
            others.append(second[1:])
    return dict(made)


def runs(first: Pairs, second: Pairs) -> list[tuple[PairLayout, int, int, int]]:
    """Pairs of two places as runs of units that stand in order: (layout, units, start at the first, at the second).

    As long ones as there are; nothing where some are in no layout.

    >>> runs([(0, 2), (1, 3)], [(4, 6), (5, 7)])
    [('halves', 4, 0, 4)]
    >>> runs([(0, 1), (2, 3), (6, 7)], [(0, 1), (2, 3), (6, 7)])
    [('neighbours', 4, 0, 0), ('halves', 2, 6, 6)]
    """
    made: list[tuple[PairLayout, int, int, int]] = []
    here = 0
    while here < len(first):
        lengths = range(len(first) - here, 0, -1)
        found = (
            (layout, n)
            for n in lengths
            for layout in PAIR_LAYOUTS
            if all(_in_order(each[here : here + n], layout) for each in (first, second))
        )
        layout, n = next(found, (PAIR_LAYOUTS[0], 0))
        if not n:
            return []
        made.append((layout, 2 * n, first[here][0], second[here][0]))
        here += n
    return made


def _in_order(pairs: Pairs, layout: PairLayout) -> bool:
    """Whether pairs stand one behind the other in a layout."""
    units = range(pairs[0][0], pairs[0][0] + 2 * len(pairs))
    real, imaginary = pair_slices(len(units), layout)
    return pairs == list(zip(units[real], units[imaginary], strict=True))


def _cancelling(found: Sequence[Tensor]) -> list[tuple[Plane, Plane]]:
    """All two planes whose derivatives cancel, the first of the earlier place."""
    planes: list[Plane] = []
    slopes, sizes = list[Tensor](), list[Tensor]()
    for place, m in enumerate(found):
        i, j = torch.triu_indices(m.shape[-1], m.shape[-1], 1)
        skew = (m - m.mT)[:, i, j].T  # (planes, passes)
        seen = torch.linalg.vector_norm(skew, dim=1) > SEEN * m.abs().max()
        planes += [(place, *units) for units in zip(i[seen].tolist(), j[seen].tolist(), strict=True)]
        slopes.append(skew[seen])
        sizes.append(m.abs().max().expand(len(skew[seen])))
    if len(planes) < 2:
        return []
    each, size = torch.cat(slopes), torch.cat(sizes)
    order = each[:, 0].abs().argsort()  # two that cancel are neighbours
    one, other = order[:-1], order[1:]
    rest = torch.linalg.vector_norm(each[one] + each[other], dim=1)
    close = (rest <= CANCELLED * torch.maximum(size[one], size[other])).nonzero().flatten()
    pairs = [sorted((planes[one[k]], planes[other[k]])) for k in close.tolist()]
    return [(first, second) for first, second in pairs]


def _scale(found: Sequence[Tensor], first: Plane, second: Plane) -> bool:
    """Whether scales of two planes, one inverse to the other, leave the outputs alone to first order."""
    slopes = [found[place][:, i, i] + found[place][:, j, j] for place, i, j in (first, second)]
    size = max(float(found[place].abs().max()) for place, *_ in (first, second))
    return float(torch.linalg.vector_norm(slopes[0] - slopes[1])) <= CANCELLED * size
