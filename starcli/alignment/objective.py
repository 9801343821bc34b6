"""The inner product of two models, which weight matching maximises."""

from collections.abc import Mapping

from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved


def inner_product(spec: Resolved, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Inner product of two state dicts over the learnable parameters, tied ones once, in float64."""
    first, second = spec.seen(first), spec.seen(second)
    return sum(float((first[name].double() * second[name].double()).sum()) for name in spec.learnable())
