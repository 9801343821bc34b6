"""One operator of a traced graph, as its rule sees it; and the table of rules."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from starcli.symmetry.derive import algebra
from starcli.symmetry.derive.atoms import AtomLabels, Atoms
from starcli.symmetry.derive.values import Value, along_axis

RuleResult = Value | tuple[Value, ...]


class Unknown(Exception):
    """Raised by a rule that does not cover this use of its operator; whatever it touches is then pinned."""


@dataclass
class Parameter:
    """A parameter (or running statistic) of the network and its value.

    The value may be replaced at its first use, never later.
    """

    name: str
    value: Value
    first_use: int | None = None
    parts: int = 1
    """Of how many equal parts of its first axis each has units of its own along the second one."""

    def labels(self, axis: int) -> AtomLabels | None:
        """The factor that distinguishes positions along `axis`, with all axes of the tensor; None for one position.

        Where it is the same throughout each of its parts, with one position along the first axis for each of these.
        """
        # a grouped convolution's second axis is told by a factor over both axes, its first by one of its own
        found = min(self.value.along(axis), key=lambda factor: sum(n > 1 for n in factor.shape), default=None)
        return found if self.parts == 1 or axis == 0 or found is None else found[:: max(1, len(found) // self.parts)]


@dataclass(frozen=True)
class Call:
    """One call of an operator: arguments by schema name, each a `Value`, a constant tensor or a plain Python value."""

    atoms: Atoms
    name: str
    """The operator's ATen name, without a trailing underscore."""
    target: Callable[..., Any]
    arguments: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    many: bool
    """Whether the operator gives a tuple."""
    where: str
    """Operator, file and line of the model's own source, for reasons."""
    step: int = 0
    used: frozenset[int] = frozenset()
    """Of a tuple, the results that something follows from."""
    has_mask: bool = False
    """Whether a list among the arguments, as of indices, has a tensor of booleans."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """Arguments that are parameters, by schema name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return self.shapes[0]

    def result(self, values: Sequence[Value]) -> RuleResult:
        """The results as the operator gives them: a tuple, or a single value."""
        return tuple(values) if self.many else values[0]

    def __getitem__(self, name: str) -> Any:
        """The argument `name` as it was passed."""
        return self.arguments[name]

    def value(self, name: str) -> Value:
        """The tensor argument `name` as a value. Raises Unknown where the operator was called without it."""
        found = self.optional(name)
        if found is None:
            raise Unknown
        return found

    def optional(self, name: str) -> Value | None:
        """The tensor argument `name` as a value, or None where the operator was called without it."""
        return self.as_value(self.arguments.get(name))

    def as_value(self, argument: Any) -> Value | None:
        """A value for a constant tensor or a value; None for everything else."""
        if isinstance(argument, torch.Tensor):
            return constant_value(self.atoms, argument, self.where)
        return argument if isinstance(argument, Value) else None

    def values(self) -> list[Value]:
        """All tensor arguments as values, those in lists too."""
        flat = [each for argument in self.arguments.values() for each in _flat(argument)]
        return [value for each in flat if (value := self.as_value(each)) is not None]

    def listed(self) -> list[Value]:
        """The tensors in the list argument `tensors` as values."""
        return [value for each in self["tensors"] if (value := self.as_value(each)) is not None]

    def merge(self, values: Sequence[Value], shape: Sequence[int] | None = None) -> Value:
        """The factors of an elementwise function of `values` (see `algebra.merge`)."""
        return algebra.merge(self.atoms, values, self.shape if shape is None else shape, self.where)

    def picked(self, factor: AtomLabels) -> AtomLabels:
        """Check a factor from which an operator picked positions, and return it.

        A unit that is picked alone is unlike all others, yet its value no longer varies with a label: it is pinned.
        """
        if factor.size and (factor == factor.flat[0]).all():
            self.atoms.pin(factor.reshape(-1)[:1], f"one unit is picked, {self.where}")
        return factor

    def contract(self, values: Sequence[Value], axes: Iterable[int], *, whole: bool = True) -> Value:
        """The sum over `axes` of the product of `values` (see `algebra.contract`)."""
        return algebra.contract(self.atoms, values, axes, self.where, whole=whole)

    def pin(self, value: Value, axes: Iterable[int] | None = None, reason: str | None = None) -> None:
        """Fix what varies along `axes`, for a reason that names this operator."""
        algebra.pin(self.atoms, value, self.where if reason is None else f"{reason}, {self.where}", axes)

    def pin_names(self, value: Value) -> None:
        """Fix the units that integers name: what is made of them tells these units apart."""
        if value.names is not None:
            self.atoms.pin(value.names.units, value.names.reason)

    def positions(self, value: Value, axes: Iterable[int], shape: Sequence[int] | None = None) -> Value:
        """The value after positions along `axes` were mixed (see `algebra.positions`)."""
        reason = f"positions mixed by {self.where}"
        return algebra.positions(self.atoms, value, axes, self.shape if shape is None else shape, reason)


def _flat(argument: Any) -> list[Any]:
    return [each for inner in argument for each in _flat(inner)] if isinstance(argument, list | tuple) else [argument]


def constant_value(atoms: Atoms, tensor: torch.Tensor, where: str) -> Value:
    """The value of a constant tensor, read at `where`: fixed positions along every axis on which it varies.

    Where only the diagonal of two axes differs from the rest, as of an identity, they have the same positions, which
    may move; so do rows and columns of an identity that lie on one axis.
    """
    exact = torch.complex128 if tensor.is_complex() else torch.float64 if tensor.is_floating_point() else torch.int64
    data = tensor.detach().cpu().to(exact).numpy()
    axes = [
        axis
        for axis, n in enumerate(data.shape)
        if n > 1 and not np.array_equal(np.broadcast_to(data.take([0], axis), data.shape), data)
    ]
    n = _side_of_diagonal(data, axes)
    if n is not None:
        positions = atoms.new(n)
        rows, columns = atoms.roles(positions), atoms.roles(positions)
        if len(axes) == 2:
            return Value.of(data.shape, [along_axis(rows, axes[0], data.ndim), along_axis(columns, axes[1], data.ndim)])
        flat = rows.repeat(n), np.tile(columns, n)
        return Value.of(data.shape, [along_axis(labels, axes[0], data.ndim) for labels in flat])
    return fixed(atoms, data.shape, axes, f"a constant that differs along this axis, {where}")


def _side_of_diagonal(data: NDArray[Any], axes: Sequence[int]) -> int | None:
    """The number of rows where an array is a square matrix along `axes`, or with all of it along one of them.

    It must have one value on its diagonal, and one elsewhere; else None.
    """
    matrix = data[tuple(slice(None) if axis in axes else 0 for axis in range(data.ndim))]
    n = math.isqrt(matrix.size)
    if n < 2 or matrix.shape not in ((n, n), (n * n,)):
        return None
    matrix = matrix.reshape(n, n)
    return n if np.array_equal(matrix, np.where(np.eye(n, dtype=bool), matrix[0, 0], matrix[0, 1])) else None


def fixed(atoms: Atoms, shape: Sequence[int], axes: Iterable[int], reason: str) -> Value:
    """A value of `shape` with fixed positions along `axes`."""
    factors = [along_axis(atoms.new(shape[axis], fixed=reason), axis, len(shape)) for axis in axes if shape[axis] > 1]
    return Value.of(shape, factors)


OperatorRule = Callable[[Call], RuleResult]
RULES: dict[str, OperatorRule] = {}
"""ATen name without a trailing underscore -> rule."""


def rule(*names: str) -> Callable[[OperatorRule], OperatorRule]:
    """Register a function as the rule of these operators."""

    def register(function: OperatorRule) -> OperatorRule:
        for name in names:
            if name in RULES:
                raise ValueError(f"two rules for {name}")
            RULES[name] = function
        return function

    return register
