"""Barriers on straight lines between models: lines, points, pairs, intervals, and whether a model is a star.

line_barrier.py    the barrier, and how a line is measured; begin here. path.py: lines and curves; bends.py: their files
pairs.py           many lines; all_pairs.py: their matrix; cached.py: of checkpoints, never measured twice
star_report.py     whether a model is a star, by groups of lines (groups.py)
intervals.py       summaries of groups; described.py: what results say beside their numbers
interpolation.py   models at points of a line, means, and points around a model; point.py: such points as asked for
"""
