"""Alignment that learns over every symmetry that a network is proved to have, from the better of two starts."""

from starcli.alignment.kinds.match_elements import match_elements
from starcli.alignment.learned.straight_through import StraightThrough
from starcli.alignment.matching.method import MatchMethod
from starcli.alignment.matching.weight_matching import match_many, match_weights

LEARN = MatchMethod(
    one=match_weights,
    many=match_many,
    settings=("examples", "share", "gains", "steps", "lr", "kinds"),
    elements=match_elements,
    kinds="all",
    realign="weight",
    defaults={"steps": 1000},
    relax=StraightThrough,
)
"""From what activations say of permutations, or weights of all kinds. Where units only permute: straight-through."""
