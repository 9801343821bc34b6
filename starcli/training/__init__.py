"""Training: a recipe and a seed make a network.

train.py         one network by a recipe; begin here. beginning.py: from the weights of a model
run.py           the loop of all training, of stars and curves too; objective.py: what it minimises
optimizer.py     optimisers; schedule.py: rates
epoch_batches.py batches in order; batch_pieces.py: their pieces, shared by the ranks (exchange.py, sync_batchnorm.py)
seeds.py         every random draw, by its place in the run
stacked.py       many small networks at once: stacked_objective.py, batched.py
class_weights.py, fixed_tensors.py, compiling.py, trial.py     single questions of a step
"""
