"""Symmetries that are planted in copies of a model, and what of them an alignment undid."""

from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry

BACK = 0.5
"""Least part of a unit that must be at its own place again: the entry of the matrix that mixes units."""


def random_symmetry(aligner: Aligner, generator: torch.Generator) -> Symmetry:
    """A permutation, or an element of all kinds where the alignment is over all of them."""
    if aligner.kinds is None:
        return Permutation.random(aligner.spec, generator)
    return Element.random(aligner.kinds, generator)


def units_back(whole: Symmetry, group: str, alike: Tensor) -> Tensor:
    """Which units of a group, (parents..., n), are back where `whole` has moved them.

    alike: numbers (parents..., n), equal for units that cannot be told apart and may take each other's place. A unit
    that was mixed with others is back where most of it is at its own place again. Signs of norms do not count beside a
    matrix: the frame makes up for them.
    """
    permutation = whole.permutation if isinstance(whole, Element) else whole
    own = alike[permutation.sources(group)].gather(-1, permutation.index[group]) == alike
    if not isinstance(whole, Element):
        return own
    g = whole.matrices.get(group)
    if g is None:
        signs = whole.signs.get(group)
        return own if signs is None else own & (signs > 0).all(dim=0)
    still = torch.ones_like(own)
    places = Permutation.identity(permutation.spec).sources(group)
    for source, place in zip(permutation.sources(group), places, strict=True):
        still &= (source == place).unsqueeze(-1)
    entries = g.gather(-1, permutation.index[group].argsort(-1).unsqueeze(-1)).squeeze(-1)
    return still & (entries > BACK)


def relative_distance(spec: Resolved, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """L2 distance of two state dicts over the learnable parameters, in units of the norm of the first."""
    names, first, second = spec.learnable(), spec.seen(first), spec.seen(second)
    apart = sum(float((first[name].double() - second[name].double()).square().sum()) for name in names)
    size = sum(float(first[name].double().square().sum()) for name in names)
    return float((apart / size) ** 0.5) if size else 0.0
