"""Merging the weights of several models, tensor by tensor: pure functions, which need neither network nor data.

method.py    what a method is, and its settings; merge.py: what was said of them. Begin with either
stack.py     one tensor of all models, read in chunks
linear.py, task_vectors.py, task_matrices.py     the methods; sparse.py: which changes they keep
data_weighted.py    means that data weigh, for `fusion/merge_by_data.py`
"""
