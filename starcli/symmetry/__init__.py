"""Which units of a network may be permuted: specs, their derivation by tracing, their proof, and permutations."""
