"""Permutation specs found by tracing a network: exported graph, atoms and their laws, groups, expressions.

derive.py        the whole way from a network to a spec; begin here
export.py        a network as a graph of operators; branches.py, every_row.py: what eval mode and one input hide
follow.py        labels of units (atoms.py) carried through the graph; trace.py: what comes of it; nodes.py, call.py,
                 values.py: what it knows at one operator
rules/           what operators do to labels, by the laws of algebra.py: a new operator gets its rule here
joint.py         units told by two axes; parts_read.py: by parts of a first one; chosen.py: by what the input chooses
lists.py         lists whose members may change places (member_sources.py, marks.py find them, members.py labels them)
colours.py       from labels to classes of exchangeable units; units.py: to groups; expressions.py, build.py: to a spec
to_yaml.py       a spec as people read it
"""
