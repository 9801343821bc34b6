"""All rules: a file that registers some is imported here, and only here."""

from starcli.derive import (  # noqa: F401  importing registers rules
    rules_contraction,
    rules_elementwise,
    rules_index,
    rules_normalise,
    rules_recurrent,
    rules_reduce,
    rules_shape,
)
from starcli.derive.call import RULES
from starcli.derive.rules_elementwise import elementwise, is_pointwise

__all__ = ["RULES", "elementwise", "is_pointwise"]
