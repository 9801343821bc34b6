"""Kinds of symmetry groups: what may act on the units of a group besides permutations, derived and proved."""
