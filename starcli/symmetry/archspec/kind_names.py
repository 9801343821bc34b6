"""Names of the kinds of groups."""

from typing import Literal, get_args

KindName = Literal["permutation", "signed", "scaled", "orthogonal", "complex", "invertible"]
KINDS: tuple[KindName, ...] = get_args(KindName)
"""From small to large, as far as they can be compared: permutations are in all others but the complex ones."""
PairLayout = Literal["halves", "neighbours"]
PAIR_LAYOUTS: tuple[PairLayout, ...] = get_args(PairLayout)
"""Which units of a complex group are a pair: i and i + n / 2, or 2 i and 2 i + 1."""
