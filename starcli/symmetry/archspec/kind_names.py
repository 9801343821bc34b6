"""Names of the kinds of groups."""

from typing import Literal

KindName = Literal["permutation", "signed", "scaled", "orthogonal", "invertible"]
KINDS: tuple[KindName, ...] = ("permutation", "signed", "scaled", "orthogonal", "invertible")
"""From small to large, as far as they can be compared: permutations are in all others."""
