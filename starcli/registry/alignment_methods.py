"""Alignment methods by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

METHODS: Mapping[str, Entry] = {
    "weight": Entry(
        "starcli.alignment.matching.weight_matching:WEIGHT",
        "weight matching: maximise the inner product of the weights",
    ),
}
"""`--align`: values of `MatchMethod`."""
