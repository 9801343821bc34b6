"""Permutations that are tried on a network at generic weights: whether its outputs change, and by which groups."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.evaluation import Reference
from starcli.symmetry.proof.generic import GenericNetwork

TOLERANCE = 1e-9
"""Least change of an output, in units of its spread over inputs, that refutes a permutation."""
JITTER = 1e-13
"""Relative change of weights that outdoes the rounding of sums in another order."""


class Trial:
    """A network at its generic weights, and what is tried on it."""

    def __init__(self, spec: Resolved, generic: GenericNetwork, permutations: Sequence[Permutation]) -> None:
        self.spec, self.subject, self.base = spec, generic.subject, generic.base
        self.permutations = permutations

    def changed_by(self, permutation: Permutation, reference: Reference) -> float:
        """The change of the outputs, in units of their spread, when the weights are permuted."""
        if not permutation.moving:
            return 0.0
        moved = [name for name in self.base if any(g in permutation.moving for g in groups_on(self.spec, name))]
        for name in moved:
            permutation.apply_(name, self.base[name], self.subject.state[name])
        self.subject.forget()
        try:
            return reference.change()
        finally:
            self.subject.load((name, self.base[name]) for name in moved)

    def worst_and_failed(self, reference: Reference, tolerance: Callable[[], float]) -> tuple[float, set[str]]:
        """The worst difference over the permutations, of all groups together, and the groups that cause it.

        `tolerance` is asked where the difference is TOLERANCE or more.
        """
        worst, failed = 0.0, set[str]()
        for permutation in self.permutations:
            found = self.changed_by(permutation, reference)
            worst = max(worst, found)
            if not found < TOLERANCE and not found < (limit := tolerance()):
                moving = [name for name in self.spec.groups if name in permutation.moving]
                failed |= at_fault(moving, partial(self._changed_by_some, permutation, reference, limit))
        return worst, failed

    def _changed_by_some(
        self, permutation: Permutation, reference: Reference, limit: float, groups: Sequence[str]
    ) -> bool:
        """Whether the outputs change when these groups alone are permuted."""
        return not self.changed_by(_only(permutation, groups), reference) < limit

    def rounding(self, reference: Reference, generator: torch.Generator) -> float:
        """The change of the outputs by weights that change by JITTER, and TOLERANCE at least.

        Large weights may make much of the rounding of sums in another order.
        """
        floats = [name for name, tensor in self.base.items() if tensor.is_floating_point()]
        for name in floats:
            tensor = self.base[name].double()
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            self.subject.load([(name, tensor * (1 + JITTER * noise))])
        try:
            return max(TOLERANCE, reference.change())
        finally:
            self.subject.load((name, self.base[name]) for name in floats)


def groups_on(spec: Resolved, tensor: str) -> set[str]:
    """Groups that stand on the tensor."""
    return {group for block in spec.blocks.get(tensor, ()) for group in block.groups if group is not None}


def at_fault(names: Sequence[str], faulty: Callable[[Sequence[str]], bool]) -> set[str]:
    """Those of some names, which together are `faulty`, that are so in the smallest sets, by bisection."""
    if len(names) == 1:
        return set(names)
    middle = len(names) // 2
    halves = (half for half in (names[:middle], names[middle:]) if faulty(half))
    return {name for half in halves for name in at_fault(half, faulty)} or set(names)


def _only(permutation: Permutation, groups: Sequence[str]) -> Permutation:
    """The permutation with all other groups at rest."""
    rest = Permutation.identity(permutation.spec).index
    return Permutation(permutation.spec, {**rest, **{group: permutation.index[group] for group in groups}})
