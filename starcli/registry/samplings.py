"""Ways to draw t by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

SAMPLINGS: Mapping[str, Entry] = {
    "uniform": Entry("starcli.averaging.sampling:uniform_t", "t from Unif[0, 1]"),
    "beta": Entry("starcli.averaging.sampling:beta_t", "t from Beta(2, 2), or beta:A,B from Beta(A, B)"),
    "constant": Entry("starcli.averaging.sampling:constant_t", "t = 0.5, or constant:T with T from 0 to 1"),
    "midpoint": Entry("starcli.averaging.sampling:midpoint_t", "t = 0.5 in half of the draws, else from Unif[0, 1]"),
    "ends": Entry("starcli.averaging.sampling:ends_t", "t = 0 or t = 1, the star or a source, with equal chance"),
}
"""`--sampling`: functions that draw t, the point between star (0) and source (1), maybe with numbers after a colon."""
