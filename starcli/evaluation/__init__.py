"""How good a network is: losses, accuracies, calibration, with BatchNorm statistics treated alike.

evaluator.py             losses and predictions of any network that is loaded; begin here. batches.py: on what
tasks/                   the loss and metrics of each task
scores.py, rows.py       a model as it is; scoring.py: on which split, at which temperature
confidence.py            metrics of probabilities; calibration.py, temperature.py
predictions.py           for each example; column_predictions.py, prediction_files.py
paired_bootstrap.py      how sure a difference is
batchnorm_statistics.py  re-estimated; batchnorm_folding.py: folded for speed; moments.py: pooled
renormalise.py           what is done to activations between models; repair.py, repairable_layers.py: REPAIR
mixed_buffers.py         buffers between models
result_table.py          results as pandas tables
"""
