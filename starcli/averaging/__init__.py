"""Averages of predictions over the star domain, against ensembles and single models.

bma.py        the comparison; begin here. repeat.py: one repeat; posterior_row.py: its numbers; cached.py: never twice
members.py    which models are averaged; sampling.py: how points between them are drawn
predict.py    averages for each example; predict_inputs.py: of inputs without labels too
"""
