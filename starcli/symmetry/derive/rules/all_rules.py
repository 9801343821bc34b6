"""The table of all rules: a file that registers some is imported here, and only here."""

from starcli.symmetry.derive.call import RULES
from starcli.symmetry.derive.rules import (  # noqa: F401  importing registers rules
    contraction,
    elementwise,
    index,
    normalise,
    recurrent,
    reduce,
    shape,
    write,
)

__all__ = ["RULES"]
