"""Matching over all kinds of symmetries: permutations, signs, rotations and matrices."""
