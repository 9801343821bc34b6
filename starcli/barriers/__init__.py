"""Barriers on straight lines between models: lines, points, pairs, intervals, and whether a model is a star."""
