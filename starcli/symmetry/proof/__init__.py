"""Proofs at random weights that a spec's permutations leave the function of a network unchanged."""
