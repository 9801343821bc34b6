"""Kinds of symmetry groups: what may act on the units of a group besides permutations, derived and proved.

derive_kinds.py     the whole way from a proved spec to kinds; begin here. prove_kinds.py: of kinds that a spec writes
group_kind.py       what is found of one group; kinds.py: of all
generic_setting.py  a network at generic weights; derivatives.py: by what acts at each place of its groups
claims.py           kinds that derivatives suggest; null_space.py, planes.py, unit_screen.py: how
continuous.py       kinds that hold, larger ones first; then signs.py, and complex_kinds.py where nothing is permuted
kind_proof.py       proof by finite elements (elements.py); shift_proof.py, size_proof.py: of what these leave open
copies.py           units that stand on an axis several times; fixed_parts.py: units that no permutation moves;
                    pairs.py: complex numbers on these; member_scales.py, shifts.py: norms, and what reads them
reasons.py          why no larger kind acts; breaks.py: at which operator
read_spec.py        from the lines of a spec to kinds; write_spec.py: back
"""
