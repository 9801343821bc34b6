"""Weight matching: which unit of one network corresponds to which of another.

weight_matching.py    the whole way; begin here. method.py: the interface of all methods
problem.py            reference and model side by side; families.py, stacks.py: how their weights are laid out
restarts.py           which descents to make; descent.py: one of them, group after group
costs.py              gains of one group; linear_assignment.py: its best permutation; nested.py: groups within groups
bound.py              how high the objective can come at most
"""
