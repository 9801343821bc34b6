"""Aligning models: the permutation that brings one nearest to another, and the same function under new names.

alignment.py       how models are aligned, as one value; begin here. method_settings.py: what only some methods have
aligner.py         does it, for models of one workspace
search.py          the search for a symmetry; select.py: the choice among its ends (midpoint.py)
matching/          by weights; kinds/: over all kinds of symmetries; learned/: by gradients
activations.py     what units compute, for matching/ too; layer_inputs.py: read from the network
joint.py           several models together; joint_frame.py: what it is made of
aligned.py         what comes out; unchanged.py: that it computes the same function; cached.py: what was learned before
order_of_units.py  whether there is anything to align; notes.py: notes on that
normalised.py      normal forms; selftest.py: whether alignment works (planted.py)
element_file.py    files of permutations and elements
measure.py         how a command measures models that it aligns; objective.py: the inner product
"""
