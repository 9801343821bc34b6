"""The functions of `import starcli as sc`: one for each command, with models and data in any common form.

Each is in the file of its name, some together: align.py (permute), barrier.py (interpolate, all_pairs, star_report),
evaluate.py (bma), landscape.py (plane, surface), load_save.py (module). Begin with train.py. Beside them:

calls.py          the decorator of all; where.py: the keywords of nearly all; merging.py: those of merges
inputs.py         models in any form, opened together; networks.py: modules and functions that build them
made_models.py    models that come back
plans.py          plans of files, which commands use too
notes.py          notes as warnings; python_words.py: messages in the words of Python
"""
