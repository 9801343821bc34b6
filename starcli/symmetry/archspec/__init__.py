"""Permutation specs: axis expressions, YAML files, sizes solved from the shapes of a network's tensors.

spec.py         a spec as written; begin here. library.py: by name or path; kind_names.py, ways.py: kinds in it
expression.py   one axis as a tree; parse_expression.py: from text
names.py        braces in names: patterns.py matches tensors and groups, templates.py makes the names of groups
resolve.py      from a spec and a network's shapes to a `Resolved`: lines.py finds lines, solve_sizes.py sizes
resolved.py     a spec that was checked: validate.py is the one gate, blocks.py where groups stand in tensors,
                stacked.py lists of modules as one tensor, held.py a spec without some of its groups
render.py       back to YAML; compare.py: whether two specs describe the same
"""
