"""Functions of permutations and of elements alike, which files and searches take in each other's place."""

from collections.abc import Mapping
from typing import TypeVar, cast

from torch import Tensor

from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation

Symmetry = Permutation | Element
Like = TypeVar("Like", bound=Symmetry)
"""What changes the weights of a model and not its function."""


def read_like(symmetry: Like, tensors: Mapping[str, Tensor]) -> Like:
    """The symmetry that `tensors` hold (`to_tensors`), of the class and network of `symmetry`.

    StarcliError where they are of another network.
    """
    read = Element.from_tensors(symmetry.kinds, tensors) if isinstance(symmetry, Element) else None
    return cast(Like, read or Permutation.from_tensors(units_of(symmetry).spec, tensors))


def one_after_the_other(first: Symmetry, then: Symmetry) -> Symmetry:
    """`first`, and `then` after it, as one: an element if one of them is one, else a permutation."""
    if isinstance(first, Permutation):
        if isinstance(then, Permutation):
            return first.compose(then)
        first = Element.of(then.kinds, first)
    return first.compose(then if isinstance(then, Element) else Element.of(first.kinds, then))


def units_of(symmetry: Symmetry) -> Permutation:
    """The permutation of units that a symmetry begins with."""
    return symmetry.permutation if isinstance(symmetry, Element) else symmetry


def permutes_alone(symmetry: Symmetry) -> bool:
    """Whether nothing acts but the permutation of units."""
    return isinstance(symmetry, Permutation) or not (
        symmetry.matrices or symmetry.scales or symmetry.signs or symmetry.frame
    )
