"""Options: single ones that several commands have, and bundles of those that always go together.

shared.py      single options; values.py: small languages of their values; checks.py: checks before torch is imported
common.py      the bundle of every command, and its session
setup.py       network, data and device; measured.py: of commands that measure
training.py    settings of a recipe; beginning.py: where training begins
search.py      the search for a star; merging.py: merges of weights
alignment.py   how models are aligned; renormalise.py, points.py: what is done between them
"""
