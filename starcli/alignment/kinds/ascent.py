"""Block coordinate ascent over all kinds of symmetries: each group in turn takes its best element, others held.

    maximise over g   <A, g B>,     A, B: normal forms of the reference and of the model

No step lowers it. What acts between normal forms is compact: permutations, signs and rotations.
"""

from collections.abc import Mapping, Set
from functools import cached_property

import numpy as np
from torch import Tensor

from starcli.alignment.kinds.best_step import Parts, best_parts
from starcli.alignment.kinds.paths import added_up, unit_paths
from starcli.alignment.matching.descent import MAX_SWEEPS
from starcli.alignment.objective import inner_product
from starcli.runtime.progress import Progress
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation

LEAST_GAIN = 1e-6
"""Share of the objective that a step gains at least: rotations come near to an optimum for ever."""


class Ascent:
    """An ascent in progress: the element so far, and the model under it."""

    def __init__(
        self, kinds: Kinds, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], progress: Progress
    ) -> None:
        """Begin at the identity; both are float64, and scales and shifts of norms are 1 and 0 in both."""
        self.kinds, self.progress = kinds, progress
        signed = {place.tensor for kind in kinds.groups.values() for way in kind.signs for place in way}  # buffers too
        names = dict.fromkeys((*kinds.spec.learnable(), *sorted(signed)))
        seen = map(kinds.spec.seen, (reference, model))
        self.reference, self.model = ({name: each[name] for name in names} for each in seen)
        self.paths = unit_paths(kinds)
        self.sweeps = 0
        self.place(Element.identity(kinds))

    def place(self, element: Element) -> None:
        """Continue at `element`."""
        self.element = element
        self.tensors: Mapping[str, Tensor] = element.apply(self.model)
        self.objective = inner_product(self.kinds.spec, self.reference, self.tensors)

    def run(self, generator: np.random.Generator, most: int = MAX_SWEEPS, weight: float = 1.0) -> None:
        """Sweep over all groups in random order until none gains, or `most` sweeps are done.

        With a `weight` other than 1, what makes a unit counts that much more than what it feeds, and the objective may
        fall: see `Descent.run`.
        """
        stale = set(self.paths)
        for _ in range(most):
            if not stale:
                break
            self.sweeps += 1
            for root in generator.permutation(sorted(stale)).tolist():
                stale.discard(root)
                if self.step(root, weight):
                    stale |= {other for path in self.paths[root] for other in path.beside}
        self.place(self.element)  # without the rounding of many steps

    def settle(self) -> None:
        """Take groups one by one, each by those weights alone whose other groups have been taken before.

        First those whose weights lie, by most of their squares, beside nothing else that moves. So a copy of the
        reference that is far from it is followed from what never moves: inputs, outputs, embeddings.
        """
        left = set(self.paths)
        while left:
            shares = {root: self._known(root, left) for root in sorted(left)}
            root = max(shares, key=lambda name: shares[name])
            self.step(root, without=frozenset(left))
            left.remove(root)
        self.place(self.element)

    def _known(self, root: str, left: Set[str]) -> float:
        """Share of the squares of a root's weights that lie beside nothing that is left."""
        each = list(zip(self._squares[root], self.paths[root], strict=True))
        known = sum(square for square, path in each if not path.beside & left)
        return known / (sum(square for square, _ in each) or 1.0)

    @cached_property
    def _squares(self) -> dict[str, list[float]]:
        """Sum of squares of each path of each root, of the reference."""
        return {root: [path.squares(self.reference) for path in paths] for root, paths in self.paths.items()}

    @cached_property
    def _reached(self) -> dict[str, list[str]]:
        """Names of the tensors that an element of each root, and of all groups within it, changes or reads."""
        spec, found = self.kinds.spec, dict[str, list[str]]()
        for root in self.paths:
            groups = spec.family(root)
            kinds = [self.kinds.groups[name] for name in groups]
            names = {name for group in groups for name in spec.bearing[group]}
            names |= {place.tensor for kind in kinds for place in kind.at}
            names |= {bias for kind in kinds for fold in kind.folds for bias in fold.biases.values()}
            found[root] = [name for name in self.model if name in names]
        return found

    def step(self, root: str, weight: float = 1.0, without: Set[str] = frozenset()) -> bool:
        """Give a root, and all groups within it, the best element, and return whether they moved.

        Where all weights count alike, it has to gain. `weight`: of what makes its units; `without`: what lies beside
        one of these roots does not count.
        """
        self.progress.stop_if_asked()
        paths = self.paths[root]
        weights = [0.0 if path.beside & without else weight if path.output else 1.0 for path in paths]
        gains = added_up(paths, self.reference, self.tensors, weights)
        if not gains:
            return False
        step = self._element(best_parts(self.kinds, root, gains))
        moved = step.apply({name: self.tensors[name] for name in self._reached[root]})
        touched = sorted({path.block.tensor for path in paths})
        gained = sum(float((self.reference[name] * (moved[name] - self.tensors[name])).sum()) for name in touched)
        if weight == 1.0 and not without and gained <= LEAST_GAIN * abs(self.objective):
            return False
        self.tensors, self.objective = {**self.tensors, **moved}, self.objective + gained
        self.element = self.element.compose(step)
        return True

    @cached_property
    def _still(self) -> Mapping[str, Tensor]:
        """The indices of all groups where nothing moves."""
        return Permutation.identity(self.kinds.spec).index

    def _element(self, parts: Parts) -> Element:
        """A step as an element: the rest stays."""
        index = dict(self._still) | {name: each[0] for name, each in parts.index.items()}
        signs = {name: each[0].movedim(-2, 0) for name, each in parts.signs.items()}
        matrices = {name: each[0] for name, each in parts.matrices.items()}
        return Element(self.kinds, Permutation(self.kinds.spec, index), matrices, {}, signs)


def only_permutes(kinds: Kinds) -> bool:
    """Whether what acts between normal forms is permutations alone."""
    return not any(kind.by_matrix or kind.signs for kind in kinds.groups.values())
