"""Averages of predictions over the star domain, against ensembles and single models."""
