"""Learning on the loss half way between two models: permutations that are made to have a gradient.

learner.py       the steps; begin here. lesson.py: its task; line_network.py: the network between two models
relaxation.py    the interface of what moves; straight_through.py, sinkhorn.py (soft_permutation.py): permutations
learn.py         over all kinds of symmetries: learn_element.py, moving_element.py
continuous_motion.py     scales and matrices that move: moving_scales.py, moving_factors.py
parameter_layout.py      all parameters as one vector; falling_adam.py: the optimiser of small tensors
"""
