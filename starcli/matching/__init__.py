"""Matching of units by weights."""

from starcli.matching.assignment import assign
from starcli.matching.search import wave_sizes
from starcli.matching.weight import Match, distances, match_many, match_weights

__all__ = ["Match", "assign", "distances", "match_many", "match_weights", "wave_sizes"]
