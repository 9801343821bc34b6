"""Proofs at random weights that a spec's permutations leave the function of a network unchanged.

prove.py        the whole way to a verdict on each group; begin here
draws.py        the permutations that are tried; trial.py: what they change
generic.py      a network at generic weights (redraw.py: how they are drawn); bounds.py: what its values do not reach
evaluation.py   a private copy of it, run in float64 (operators.py), and comparison of outputs
controls.py     negative controls: a group matters at each of its places (places.py)
"""
