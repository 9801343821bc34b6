"""Aligning models: the permutation that brings one nearest to another, and the same function under new names."""
