"""Ways to draw t by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

SAMPLINGS: Mapping[str, Entry] = {
    "uniform": Entry("starcli.star.sampling:uniform_t", "t from Unif[0, 1]"),
    "beta": Entry("starcli.star.sampling:beta_t", "t from Beta(2, 2)"),
    "constant": Entry("starcli.star.sampling:constant_t", "t = 0.5"),
}
"""`--sampling`: functions that draw t, the point of a star step between star and source."""
