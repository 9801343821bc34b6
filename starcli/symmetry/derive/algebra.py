"""The algebra of factors: the three laws behind every operator's rule.

relate: two factors on the same positions (elementwise).   merge: the factors of several tensors, broadcast. reduce:
what remains when axes are summed over, a bundle of the atoms in each sum.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations

import numpy as np

from starcli.symmetry.derive.atoms import AtomLabels, Atoms, components, distinct, distinct_rows, unique, upwards
from starcli.symmetry.derive.values import Value, along_axis, varies


def relate(atoms: Atoms, f: AtomLabels, g: AtomLabels, where: str) -> str:
    """Make the atoms of two factors that act on the same positions move together.

    - Equal partitions are united.  - Where one determines the other, the finer atoms get the coarser as parents.
    - Where neither does, but every connected component is a complete product (heads of queries and units of a shared
      value), the components become a parent of both.  - Anything else is pinned.

    Returns which factor is the finer one: "same", "first", "second", or "both" where neither determines the other.
    """
    f, g = atoms.find(f), atoms.find(g)
    if f.shape == g.shape and upwards(f) and upwards(g):
        atoms.union(f, g)
        return "same"
    a, b, i, j = _pairs(f, g)
    if len(a) == len(i) and len(b) == len(i):
        atoms.union(a[i], b[j])
        return "same"
    if len(a) == len(i):
        atoms.place(a[i], b[j])
        return "first"
    if len(b) == len(i):
        atoms.place(b[j], a[i])
        return "second"
    if len(i) < len(a) * len(b) and not (atoms.is_fixed(a).all() and atoms.is_fixed(b).all()):
        _components(atoms, a, b, i, j, where)
    return "both"


def _pairs(f: AtomLabels, g: AtomLabels) -> tuple[AtomLabels, AtomLabels, AtomLabels, AtomLabels]:
    """Distinct labels a of f, b of g (which are broadcast), and the distinct pairs (a[i], b[j]) that occur."""
    a, i = distinct(f)
    b, j = distinct(g)
    code = unique(i * len(b) + j)
    return a, b, code // len(b), code % len(b)


def _components(atoms: Atoms, a: AtomLabels, b: AtomLabels, i: AtomLabels, j: AtomLabels, where: str) -> None:
    """Unite what is above the two sides of each complete product that the pairs form; pin what meets in no such way."""
    number, component = components(len(a) + len(b), i, len(a) + j)
    first, second = component[: len(a)], component[len(a) :]
    met = np.bincount(first, minlength=number) * np.bincount(second, minlength=number)
    complete = met == np.bincount(first[i], minlength=number)
    if not complete.all():
        reason = f"units meet that neither determine each other nor form a product, {where}"
        atoms.pin(a[~complete[first]], reason)
        atoms.pin(b[~complete[second]], reason)
    for k in np.flatnonzero(complete):
        above = [atoms.bundles(labels[of == k][None]) for labels, of in ((a, first), (b, second))]
        atoms.union(above[0], above[1])


def merge(atoms: Atoms, values: Sequence[Value], shape: Iterable[int], where: str) -> Value:
    """The factors of an elementwise function of `values`, which broadcast to `shape`."""
    shape = tuple(shape)
    kept: list[AtomLabels] = []
    padded = [value.padded(len(shape)).factors for value in values]
    for k, factors in enumerate(padded):
        others = [factor for i, each in enumerate(padded) if i != k for factor in each]
        for factor in _in_roles(atoms, factors, others):
            _meet(atoms, kept, factor, where)
            again = atoms.occurrences(factor)
            if again is not None:
                _meet(atoms, kept, again, where)
    return Value.of(shape, kept)


def _in_roles(atoms: Atoms, factors: tuple[AtomLabels, ...], others: Sequence[AtomLabels]) -> Sequence[AtomLabels]:
    """Factors of one value that have atoms in common, as of x x^T, with atoms for rows and for columns instead.

    That is where one of the `others` meets both: what stands below two atoms then says which of them is which.
    """
    for one, two in combinations(factors, 2):
        both = any(all({*varies(each)} & {*varies(other)} for each in (one, two)) for other in others)
        if both and not atoms.is_fixed(one).all() and np.isin(atoms.find(one), atoms.find(two)).any():
            made = [atoms.roles(factor) for factor in factors]
            atoms.tell_apart(made, "rows and columns of the same units")
            return made
    return factors


def _meet(atoms: Atoms, kept: list[AtomLabels], factor: AtomLabels, where: str) -> None:
    """Relate `factor` to all of `kept` that act on one of its axes, and keep the finer of each two."""
    redundant = False
    axes, fixed = set(varies(factor)), bool(atoms.is_fixed(factor).all())
    for other in list(kept):
        if axes.isdisjoint(varies(other)):
            continue
        if fixed and atoms.is_fixed(other).all():
            finer, joined = _join(atoms, factor, other)
        else:
            finer, joined = relate(atoms, factor, other, where), None
            fixed = bool(atoms.is_fixed(factor).all())
        redundant = redundant or finer in ("second", "same")
        if finer == "first" or joined is not None:
            kept[:] = [each for each in kept if each is not other]
        if joined is not None:
            factor, axes = joined, set(varies(joined))
    if not redundant:
        kept.append(factor)


def _join(atoms: Atoms, f: AtomLabels, g: AtomLabels) -> tuple[str, AtomLabels | None]:
    """Two fixed factors, one of which acts on all axes of the other, are one: each pair of labels is a position."""
    inside = set(varies(f)) <= set(varies(g)) or set(varies(g)) <= set(varies(f))
    # every position has its own label in a factor that counts upwards, as fresh ones do
    if all(n >= m for n, m in zip(f.shape, g.shape, strict=True)) and upwards(f):
        return "first", None
    if f.size < g.size and all(n <= m for n, m in zip(f.shape, g.shape, strict=True)) and upwards(g):
        return "second", None
    a, i = distinct(f)
    b, j = distinct(g)
    i, j = np.broadcast_arrays(i, j)
    if len(b) == 1 or len(a) == i.size:
        return "first", None
    if _tells(len(b), j, i):
        return "second", None
    if _tells(len(a), i, j):
        return "first", None
    if not inside:
        return "both", None
    code, index = distinct(i * len(b) + j)
    return "both", atoms.new(len(code), fixed="positions of the input")[index]


def _tells(count: int, labels: AtomLabels, others: AtomLabels) -> bool:
    """Whether each of `count` labels goes with a single one of the others; without sorting all pairs."""
    beside = np.empty(count, dtype=np.int64)
    beside[labels] = others
    return np.array_equal(beside[labels], others)


def reduce(atoms: Atoms, value: Value, axes: Iterable[int], *, whole: bool = True) -> Value:
    """The value summed over `axes`, which keep size 1: each factor leaves a bundle for each sum.

    A factor that varies along no other axis leaves one bundle for all, which is constant; with `whole` its members
    still get it as a parent (the two halves of an axis that are normalised apart are two sets).
    """
    axes = tuple(axes)
    left: list[AtomLabels] = []
    for factor in value.factors:
        rows = _rows(factor, axes)
        if rows.shape[1] == 1:
            left.append(factor)
        elif whole or len(rows) > 1:
            left.append(_of_rows(_bundled(atoms, rows), factor, axes))
    shape = [1 if axis in axes else n for axis, n in enumerate(value.shape)]
    return Value.of(shape, left)


def _rows(factor: AtomLabels, axes: Collection[int]) -> AtomLabels:
    """The factor as (rows, positions along `axes`), with a row for each position along the other axes."""
    others = [axis for axis in range(factor.ndim) if axis not in axes]
    rows = np.moveaxis(factor, others, range(len(others)))
    return rows.reshape(math.prod(rows.shape[: len(others)]), -1)


def _of_rows(labels: AtomLabels, factor: AtomLabels, axes: Collection[int]) -> AtomLabels:
    """A label for each of `_rows`, where the factor has them, with size 1 along `axes`."""
    return labels.reshape([1 if axis in axes else n for axis, n in enumerate(factor.shape)])


def _bundled(atoms: Atoms, rows: AtomLabels) -> AtomLabels:
    """Bundles of rows; rows of fixed atoms alone give fixed positions without a parent each."""
    if not atoms.is_fixed(rows).all():
        return atoms.bundles(rows)
    kinds, index = distinct_rows(np.sort(rows, axis=1))
    return atoms.new(len(kinds), fixed="positions of the input")[index]


def contract(atoms: Atoms, values: Sequence[Value], axes: Iterable[int], where: str, *, whole: bool = True) -> Value:
    """The sum over `axes` of the product of `values`, which all live in one space (see `Value.aligned`)."""
    shape = np.broadcast_shapes(*(value.shape for value in values))
    return reduce(atoms, merge(atoms, values, shape, where), axes, whole=whole)


def pin(atoms: Atoms, value: Value, reason: str, axes: Iterable[int] | None = None) -> None:
    """Fix the atoms of all factors that vary along one of `axes` (by default, along any)."""
    wanted = set(range(len(value.shape)) if axes is None else axes)
    for factor in value.factors:
        if wanted & set(varies(factor)):
            atoms.pin(factor, reason)


def positions(atoms: Atoms, value: Value, axes: Iterable[int], shape: Sequence[int], reason: str) -> Value:
    """The value after an operator that mixes positions along `axes` (a window, a resampling) and gives `shape`.

    What may move along those axes is pinned, but for units of which each has atoms of its own there; the result has
    fixed positions there, and still differs along other axes wherever the value did.
    """
    axes = set(axes)
    whole = [_units_over(atoms, factor, axes) for factor in value.factors]
    rest = [factor for factor, units in zip(value.factors, whole, strict=True) if units is None]
    pin(atoms, Value(value.shape, tuple(rest)), reason, axes)
    factors = [units for units in whole if units is not None]
    factors += [left for factor in rest if (left := _apart(atoms, factor, axes)) is not None]
    for axis in sorted(axes):
        if shape[axis] > 1:
            factors.append(along_axis(atoms.new(shape[axis], fixed="positions of the input"), axis, len(shape)))
    return Value.of(shape, factors)


def _units_over(atoms: Atoms, factor: AtomLabels, axes: set[int]) -> AtomLabels | None:
    """Units along other axes than those, each of as many atoms as the others, which `axes` tell apart; else None.

    Channels that a pixel shuffle spreads over positions are such, and those of a layer whose units are made an image.
    """
    rows = atoms.find(_rows(factor, axes))
    if 1 in rows.shape:
        return None
    _, first, place = np.unique(rows[0], return_index=True, return_inverse=True)
    own = rows[:, first]  # (units, atoms of each)
    if len(unique(own)) < own.size or atoms.is_fixed(own).any() or not np.array_equal(own[:, place.reshape(-1)], rows):
        return None
    atoms.place(own, atoms.new(len(first), fixed="positions of the input"))
    return _of_rows(atoms.bundles(own), factor, axes)


def _apart(atoms: Atoms, factor: AtomLabels, axes: set[int]) -> AtomLabels | None:
    """What a pinned factor determines along other axes than those (space folded into channels); None for nothing."""
    rows = _rows(factor, axes)
    if 1 in rows.shape:
        return factor if rows.shape[1] == 1 else None
    kinds, index = distinct_rows(rows)  # in order: a shifted row is another one
    return _of_rows(atoms.new(len(kinds), fixed="positions of the input")[index], factor, axes)
