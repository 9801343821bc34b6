"""Figure 5: do more and more pairs of unit vectors become stars as they get longer?"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paper.page import number
from paper.record import FAILS, HOLDS, Bench, Experiment, Finding, Row, Table
from paper.spheres import cross_products, gap, least, least_of_sparse, sample, swapped, weight_matching

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRODUCT = 0.5
"""C of the paper."""
TOLERANCES = np.linspace(0.01, 0.1, 50)
"""Epsilons of the paper's figure."""
TRIED_UP_TO = 8
"""Up to this width all permutations are tried."""
BLOCK = 25
"""So many phi are measured before the result is kept."""
PANELS = {
    "matching": "weight matching",
    "least": "least over permutations",
    "sparse": "least, a sparse θ",
}
"""What is squared in each panel, for every phi the largest over all theta."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """For each width and phi, the largest g^2 over the same thetas."""
    rows = []
    for width in settings["widths"]:
        for first in range(0, settings["samples"], BLOCK):
            chosen = slice(first, min(first + BLOCK, settings["samples"]))
            what = f"# Q(m, eps), m = {width}: phi {first} to {chosen.stop - 1} against {settings['samples']} theta"
            rows += bench.keep(what, lambda width=width, chosen=chosen: worst(width, settings["samples"], chosen))
    return rows


def worst(width: int, samples: int, chosen: slice) -> list[Row]:
    """The largest g^2 over all theta, of each of the chosen phi, by weight matching and the least over permutations."""
    draws = np.random.default_rng([width, samples])
    phis, thetas = (sample(samples, width, PRODUCT, draws) for _ in range(2))
    found: dict[str, list[float]] = {name: [] for name in PANELS}
    for phi in phis[chosen]:
        matching, nearest = zip(*(gaps(phi, theta) for theta in thetas), strict=True)
        for name, value in zip(PANELS, (max(matching), max(nearest), least_of_sparse(phi, PRODUCT)), strict=True):
            found[name].append(value**2)
    return [{"width": width, "panel": name, "worst": values} for name, values in found.items()]


def gaps(phi: Any, theta: Any) -> tuple[float, float]:
    """|g| by weight matching and the least over permutations, which swaps approximate above TRIED_UP_TO.

    Swaps end below the smallest tolerance.
    """
    table, matched = cross_products(phi, theta), weight_matching(phi, theta)
    by_matching = abs(gap(table, matched, PRODUCT))
    if len(table) <= TRIED_UP_TO:
        return by_matching, least(table, PRODUCT)
    return by_matching, swapped(table, matched, PRODUCT, enough=0.5 * float(TOLERANCES[0]) ** 0.5)


def shares(rows: Sequence[Row], panel: str) -> tuple[list[int], Any]:
    """The widths, and Q (tolerances, widths): the share of phi whose largest g^2 is at most epsilon."""
    by_width: dict[int, list[float]] = {}
    for row in rows:
        if row["panel"] == panel:
            by_width.setdefault(row["width"], []).extend(row["worst"])
    return list(by_width), np.stack(
        [np.less_equal.outer(each, TOLERANCES).mean(axis=0) for each in by_width.values()], 1
    )


def tables(rows: Sequence[Row]) -> list[Table]:
    """Q at the smallest and the largest tolerance, for each panel and width."""
    ends = (0, -1)
    lines = []
    for panel, name in PANELS.items():
        widths, share = shares(rows, panel)
        lines += [[name, number(TOLERANCES[end]), *(f"{each:.2f}" for each in share[end])] for end in ends]
    return [Table(["g²", "ε", *(f"m = {width}" for width in widths)], lines)]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Q goes from 0 to 1 with a transition between; and what the lemma says of every theta."""
    found = []
    for panel in ("matching", "least"):
        widths, share = shares(rows, panel)
        where = f"{PANELS[panel]}, m = {widths[0]} to {widths[-1]}"
        complete = (share[:, -1] == 1).all() and (share[:, 0] < 1).all()
        found.append(Finding("Q reaches 1 at every ε", where, HOLDS if complete else FAILS))
        never_less = (np.diff(share, axis=1) >= 0).all()
        found.append(Finding("Q never falls as m grows", where, HOLDS if never_less else FAILS))
        between = ((share > 0) & (share < 1)).any(axis=1)
        claim = f"Some, not all, φ are stars on the way (at {between.sum()} of {len(between)} ε; claimed: almost all)"
        found.append(Finding(claim, where, HOLDS if between.mean() >= 0.9 else FAILS))
    widths, share = shares(rows, "sparse")
    tends = HOLDS if (share[:, -1] == 1).all() else FAILS
    claim = "Q tends to 1 where θ is any of the set (lemma 2, theorem 1)"
    return [*found, Finding(claim, f"a sparse θ, all permutations, m = {widths[-1]}", tends)]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Q by width and tolerance, a panel for each."""
    from starcli.plots.style import grow

    def paint(figure: "Figure") -> None:
        grow(figure, 2.1)
        axes = figure.subplots(1, len(PANELS), sharey=True)
        for axis, (panel, name) in zip(axes, PANELS.items(), strict=True):
            widths, share = shares(rows, panel)
            shown = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            axis.set_xticks(range(len(widths)), [str(width) for width in widths], rotation=60)
            axis.set_yticks([0, len(TOLERANCES) - 1], [f"{TOLERANCES[0]:g}", f"{TOLERANCES[-1]:g}"])
            axis.set_title(name)
            axis.set_xlabel("width m")
            axis.grid(visible=False)
        axes[0].set_ylabel("tolerance ε")
        figure.colorbar(shown, ax=axes, label="share of φ that are stars, Q", pad=0.01)

    return paint


PAPER = {"widths": [2**power for power in range(1, 11)], "samples": 100}
"""The paper's own settings."""
EXPERIMENT = Experiment(
    name="lemma",
    paper="Figure 5",
    claim="Data-free: the share Q(m, ε) of pairs of unit vectors that are stars grows from 0 to 1 with the width m,"
    " and there are widths where some are stars and others are not, at almost every ε.",
    scales={
        "quick": {"widths": [2, 4, 16], "samples": 6},
        "here": PAPER,
        "full": PAPER,
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
    notes=f"""\
C = 0.5, 100 φ against the same 100 θ, drawn uniformly, as in the paper. φ is a star at ε if
g² = (φ₁·π(θ₂) + π(θ₁)·φ₂ - 2C)² ≤ ε for every θ. Which permutation π was taken the paper does not say. *Weight
matching* brings the weights nearest to each other. The *least* g² is the minimum that the lemma names, which is no
assignment problem; all permutations are tried up to m = {TRIED_UP_TO}, and above it swaps from weight matching on, so
that Q is at least what is shown.

The lemma and the theorem speak of every θ of the set, and not of most, which is too much. Take the sparse
θ = (e₁, C e₁ + √(1 - C²) e₂): whatever π, g + 2C is a sum of three terms no larger than the largest entries of φ, which
vanish as m grows, so that g² tends to 4C² = 1 and Q to 0. The third panel shows it, by the exact minimum. The proof
is of random θ; the step from there to all θ by compactness fails as the set changes with m. What it shows of solutions
drawn at random is what the first two panels show too.""",
)
