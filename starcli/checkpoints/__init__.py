"""Checkpoints: weights and what they are, in one file.

checkpoint.py    a checkpoint, read and written; begin here. metadata.py: what it says; several.py: many together
weights.py       weights in any format; containers.py finds the state dict in what others save, state_dict.py and
                 prefixes.py its names
hashes.py        the hash of weights; lineage.py: ancestors
convert.py       files of others as ours, and back
"""
