"""Starlight: the search for a star model; with its own loss added it is the paper's way to fuse.

starlight.py        Algorithm 1; begin here. starlight_step.py: one step of it
star_search.py      all that decides a search; settings.py: its settings beside the recipe
source_bank.py      the sources, each with the symmetry that aligns it; source_vectors.py: as vectors on the device
check_sources.py    sources and stars that are no solutions
growing.py          a finished star trained on for more sources; companions.py: sources that a search trains itself
"""
