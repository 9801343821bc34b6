"""The kind of a group: which symmetries act on its units besides permutations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from starcli.symmetry.archspec.kind_names import KindName, PairLayout
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.places import GroupPlace

Exponents = Mapping[GroupPlace, int]
"""What an element g does at each place where it does anything: 1, it acts as g; -1, as its inverse transpose."""


@dataclass(frozen=True)
class Fold:
    """A scale of units (`norm1.weight`) that could go into the linear maps that read what it multiplies.

    Where it is 1, these units rotate; elsewhere it stays as it is, and with D = diag(scale)^e a rotation g acts as
    D g D^-1 at each place of exponent e.
    """

    scale: GroupPlace
    exponents: Exponents
    """How the scale would go there: 1 for what is added to what it multiplies (`norm1.bias`), -1 for what reads it."""
    biases: Mapping[str, str] = field(default_factory=dict)
    """For each weight that reads it the bias that may take the shift (`norm1.bias`); nothing where one cannot."""

    @property
    def shift(self) -> GroupPlace | None:
        """The place of the shift, which is added to what the scale multiplies."""
        return next((place for place, e in self.exponents.items() if e > 0), None)

    @property
    def readers(self) -> list[GroupPlace]:
        """The places that read what the scale multiplies."""
        return [place for place, e in self.exponents.items() if e < 0]

    @property
    def way(self) -> dict[GroupPlace, int]:
        """The way to scale in which the scale itself has the exponent 1."""
        return {self.scale: 1, **self.exponents}


@dataclass(frozen=True)
class GroupKind:
    """The largest kind of group that was proved to act on the units of one group, and how it acts at each place.

    An element is a matrix g for each combination of units around the group: a permutation matrix times a diagonal one
    of signs or of positive scales, an orthogonal, or an invertible one; or one of complex numbers (see `pairs`).
    """

    group: str
    kind: KindName = "permutation"
    exponents: Exponents = field(default_factory=dict)
    """For scaled, orthogonal, complex and invertible; for signed those places at which signs act."""
    fixes_ones: bool = False
    """Of orthogonal: whether only those g are meant for which g (1, ..., 1) = (1, ..., 1)."""
    folds: tuple[Fold, ...] = ()
    """Of orthogonal: scales that do not rotate."""
    scalings: tuple[Exponents, ...] = ()
    """All independent ways in which positive scales may act, one of them of the kind `scaled`."""
    signs: tuple[Exponents, ...] = ()
    """Independent ways in which signs may act that no larger kind has."""
    larger: Mapping[KindName, str] = field(default_factory=dict)
    """For larger kinds why they do not act."""
    pairs: PairLayout | None = None
    """Of complex: which two units each number acts on. These units do not change places."""

    @property
    def by_matrix(self) -> bool:
        """Whether a matrix acts on the units, which holds their permutation if they have one."""
        return self.kind in ("orthogonal", "complex", "invertible")

    @property
    def at(self) -> list[GroupPlace]:
        """All places that it names."""
        ways = [self.exponents, *self.scalings, *self.signs, *(fold.exponents for fold in self.folds)]
        return [*(fold.scale for fold in self.folds), *(place for way in ways for place in way)]

    @cached_property
    def kept(self) -> list[str]:
        """Names of the tensors that rotations leave as they are: norms' scales, and the shifts that biases take."""
        shifts = [fold.shift.tensor for fold in self.folds if fold.shift and fold.biases]
        return [fold.scale.tensor for fold in self.folds] + shifts

    def includes(self, kind: KindName, *, fixes_ones: bool = False) -> bool:
        """Whether this kind has all elements of another one (`fixes_ones`: of its elements those that fix ones)."""
        match kind:
            case "permutation":
                return True
            case "signed":
                return (
                    bool(self.signs) or self.kind == "invertible" or (self.kind == "orthogonal" and not self.fixes_ones)
                )
            case "scaled":
                return bool(self.scalings)
            case "complex":
                return self.kind in ("complex", "invertible")
            case "orthogonal":
                return self.kind == "invertible" or (self.kind == kind and (fixes_ones or not self.fixes_ones))
        return self.kind == "invertible"

    def refusal(self, kind: KindName, *, fixes_ones: bool = False) -> str:
        """Why another kind that is claimed does not act, in words; "" where this one includes it."""
        if self.includes(kind, fixes_ones=fixes_ones):
            return ""
        if kind == "orthogonal" and self.kind == kind:
            return "orthogonal only with `fixes: ones`"
        # what breaks rotations breaks the matrices among which they are
        reason = self.larger.get(kind) or self.larger.get("orthogonal", "")
        return f"not {kind}{f': {reason}' if reason else ''}; what was proved is {self.kind}"

    def to_json(self, spec: Resolved) -> dict[str, object]:
        """The kind as plain values: how many ways there are to scale and to set signs, not where."""
        return {
            "kind": self.kind,
            "dimension": self.dimension(spec),
            "fixes_ones": self.fixes_ones,
            "kept_scales": [fold.scale.tensor for fold in self.folds],
            "scalings": len(self.scalings),
            "signs": len(self.signs),
            "pairs": self.pairs,
            "broken_by": dict(self.larger),
        }

    def dimension(self, spec: Resolved) -> int:
        """Dimension of the continuous part: of what acts exactly, in float64.

        For each combination of units around the group: n for each way to scale, n (n - 1) / 2 for rotations of n units,
        (n - 1) (n - 2) / 2 for those that fix ones, n for n / 2 complex numbers, and n^2 for invertible matrices, which
        have one way to scale. Scales that every module of a list has for itself count for each.
        """
        *around, n = spec.index_shape(self.group)
        off = {"orthogonal": math.comb(n - self.fixes_ones, 2), "complex": n, "invertible": n * (n - 1)}
        own = [spec.groups[members].size - 1 for fold in self.folds if (members := fold.scale.members(spec))]
        return math.prod(around) * (n * (len(self.scalings) + sum(own)) + off.get(self.kind, 0))
