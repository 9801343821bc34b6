"""Which units of a network may be permuted: specs, their derivation by tracing, their proof, and permutations.

find.py         the spec of a network, proved and kept; begin here. find_kinds.py: what else acts on its units;
                shipped.py: specs by architecture; fingerprint.py: what results are kept under
archspec/       specs: as written, and checked against the tensors of a network
derive/         specs found by tracing a network
proof/          proofs that permutations leave the function of a network unchanged
kinds/          signs, scales, rotations and matrices that act on units besides permutations
permutation.py  permutations, which act on models; element.py: elements of all kinds (element_checks.py: of files);
                symmetries.py: what holds for both;
                normal_form.py, balanced_scales.py: the model of least weights among all that elements make of one
stacked_network.py, tied.py     networks with lists of modules as stacks; tensors under several names
"""
