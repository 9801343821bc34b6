"""What weight matching maximises."""

from starcli.evaluation.evaluator import Model
from starcli.symmetry.archspec.resolved import Resolved


def inner_product(spec: Resolved, first: Model, second: Model) -> float:
    """The objective of weight matching: the inner product over learnable parameters, tied ones once, in float64."""
    return sum(float((first[name].double() * second[name].double()).sum()) for name in spec.learnable())
