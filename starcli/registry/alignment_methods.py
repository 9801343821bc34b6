"""Alignment methods by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

METHODS: Mapping[str, Entry] = {
    "weight": Entry(
        "starcli.alignment.kinds.match_elements:WEIGHT",
        "inner product of the weights: no data, deterministic, milliseconds to seconds a model",
    ),
    "activation": Entry(
        "starcli.alignment.matching.weight_matching:ACTIVATION",
        "what units compute on training examples (no labels), beside the weights: deterministic, a forward pass more",
    ),
    "straight-through": Entry(
        "starcli.alignment.learned.straight_through:STRAIGHT_THROUGH",
        "learned on the loss half way, from where activation ends: labels, deterministic, 200 training steps a model",
    ),
    "sinkhorn": Entry(
        "starcli.alignment.learned.sinkhorn:SINKHORN",
        "the same by soft permutations, which mix units while they learn: labels, deterministic, as many steps",
    ),
    "learn": Entry(
        "starcli.alignment.learned.learn:LEARN",
        "all kinds of symmetries, learned on the loss between the models: labels, deterministic, 1,000 training steps",
    ),
}
"""`--align`: values of `MatchMethod`."""

DEFAULT_METHOD = "activation"
"""Of stars, averages and reports, which have data at hand: docs/alignment.md says why.

`align` needs no data, and compares weights unless it is told.
"""

GAINS = ("least-squares", "correlation")
"""`--align-gains`: how activations are compared, the default first."""

ALIGNED_KINDS = ("permutation", "all")
"""`--align-kinds`: permutations alone, or all symmetries proved (signs, scales, rotations, invertible matrices)."""

SELECTIONS = ("objective", "midpoint")
"""`--select`: by what one of several ends is chosen, the default first."""
