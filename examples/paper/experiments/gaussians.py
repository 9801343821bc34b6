"""Tables 3 and 4: which share of two-layer networks on two Gaussian classes are stars?"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper.record import FAILS, HOLDS, Bench, Experiment, Finding, Row, Table
from paper.stars import chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = {"identity": "linear", "elu": "ELU"}
"""Activations of the paper's tables 3 and 4, and what they are called."""
PERMUTATIONS = {"matching": "weight matching", "winning": "winning"}
SYMMETRIES = {"all kinds": {"method": "weight", "kinds": "all"}, "learn": {"method": "learn"}}
"""Alignments over all symmetries: the nearest weights, in closed form where there is one, and by learning."""
EPSILONS = (1e-6, 1e-5, 1e-3, 1e-1)
PAPER = {
    ("identity", 2): (0.00, 0.01, 0.05, 0.12),
    ("identity", 4): (0.03, 0.08, 0.25, 0.40),
    ("identity", 8): (0.21, 0.38, 0.60, 0.72),
    ("identity", 32): (0.86, 0.97, 1.00, 1.00),
    ("elu", 2): (0.00, 0.00, 0.00, 0.00),
    ("elu", 4): (0.00, 0.00, 0.00, 0.04),
    ("elu", 8): (0.00, 0.00, 0.00, 0.71),
    ("elu", 32): (0.93, 1.00, 1.00, 1.00),
}
"""Shares of stars in the paper's tables, by activation and width, one for each epsilon."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Networks of each kind, their worst barriers; and stars by every symmetry, with the program."""
    rows = []
    for width in settings["widths"]:
        for distance in settings["distances"]:
            for activation in TABLES:
                about = {"activation": activation, "distance": distance, "width": width}
                what = ", ".join(f"{key} {value}" for key, value in about.items())
                line = f"# {settings['networks']} networks of two layers, {settings['steps']} steps: {what}"
                found = bench.keep(line, lambda about=about: networks(settings, **about))
                rows += [{**about, **row} for row in found]
    for activation in TABLES:
        for width in settings["widths"]:
            about = {"activation": activation, "distance": settings["distances"][0], "width": width}
            what = ", ".join(f"{key} {value}" for key, value in about.items())
            line = f"# {settings['few']} networks of two layers, by the program over all symmetries: {what}"
            found = bench.keep(line, lambda about=about: by_every_symmetry(settings, **about))
            rows += [{**about, **row} for row in found]
    return rows


def data_name(settings: Mapping[str, Any], distance: float) -> str:
    """The data set of a distance between the classes, in words of `starcli`."""
    return f"gaussians:distance={distance},train={settings['points']}"


def train(settings: Mapping[str, Any], count: int, activation: str, distance: float, width: int) -> tuple[Any, Any]:
    """So many networks after descent on all points, and the data."""
    import torch

    from paper import two_layer
    from starcli.data.gaussians import load_gaussians
    from starcli.data.loading import Request

    split = load_gaussians(Request(data_name(settings, distance).partition(":")[2])).train
    points = torch.cat([inputs for inputs, _ in split.batches(len(split))]).double()
    data = two_layer.Data(points, 2.0 * split.labels.double() - 1)
    start = two_layer.initial(count, width, activation, torch.Generator().manual_seed(width))
    return two_layer.train(start, data, settings["steps"]), data


def networks(settings: Mapping[str, Any], activation: str, distance: float, width: int) -> list[Row]:
    """Networks that were trained, the largest barrier of each to all others, and where descent ends that goes on."""
    from paper import two_layer

    trained, data = train(settings, settings["networks"], activation, distance, width)
    rows: list[Row] = [{"kind": "trained", **state(trained, data)}]
    if distance == settings["distances"][0]:
        further = two_layer.descended(trained[: settings["further"]], data, settings["steps"])
        rows.append({"kind": "further", **state(further, data)})
    found = two_layer.worst_barriers(trained, data)
    return rows + [{"kind": name, "worst": [float(f"{each:.3g}") for each in found[name]]} for name in found]


def state(networks: Any, data: Any) -> Row:
    """How far a stack of networks has come: loss, norms of its gradient and of the weights, each the least and largest.

    curvature: the largest eigenvalue of the loss' second derivative by the product of all layers, as if linear.
    """
    logits = networks.logits(data.points)
    weights, gradient = (networks.inner, networks.outer), networks.gradients(data)
    norms = [sum(part.flatten(1).square().sum(dim=1) for part in parts).sqrt() for parts in (weights, gradient)]
    values = {"loss": data.loss(logits), "weights": norms[0], "gradient": norms[1], "curvature": data.curvature(logits)}
    return {name: [found.min().item(), found.max().item()] for name, found in values.items()}


def by_every_symmetry(settings: Mapping[str, Any], activation: str, distance: float, width: int) -> list[Row]:
    """Few networks, brought to each other by the program over all symmetries that it proves them to have."""
    import starcli as sc
    from paper import two_layer

    trained, _ = train(settings, settings["few"], activation, distance, width)
    models, data = two_layer.modules(trained), data_name(settings, distance)
    rows = []
    for method, alignment in SYMMETRIES.items():
        steps = settings.get("learned_steps") if method == "learn" else None
        worst = sc.all_pairs(models, alignment=sc.Alignment(**alignment, steps=steps), data=data).matrix().amax(dim=1)
        rows.append({"kind": method, "worst": [float(f"{each:.3g}") for each in worst]})
    return rows


def shares(row: Row) -> list[float]:
    """The share of stars at each epsilon: networks whose largest barrier is below it."""
    return [sum(each < epsilon for each in row["worst"]) / len(row["worst"]) for epsilon in EPSILONS]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Shares at the four tolerances beside the paper's, for linear networks and with ELU; how all were trained."""
    kinds = [*PERMUTATIONS, *SYMMETRIES]
    few = len(chosen(rows, kind=kinds[-1])[0]["worst"])
    names = [*PERMUTATIONS.values(), *(f"{name}, {few} networks" for name in SYMMETRIES)]
    found = []
    for activation, name in TABLES.items():
        lines = []
        for row in chosen(rows, kind="matching", activation=activation):
            about = {key: row[key] for key in ("activation", "width", "distance")}
            cells = [[in_words(shares(one)) for one in chosen(rows, **about, kind=kind)] for kind in kinds]
            lines.append([str(row["width"]), in_words(PAPER[activation, row["width"]]), str(row["distance"])])
            lines[-1] += [cell[0] if cell else "" for cell in cells]
        found.append(Table([f"{name}, m", "paper", "d", *names], lines))
    return [*found, convergence(rows)]


def in_words(numbers: Sequence[float]) -> str:
    """Shares as they stand in a cell."""
    return " / ".join(f"{each:.2f}" for each in numbers)


def convergence(rows: Sequence[Row]) -> Table:
    """How far training came, and where L-BFGS came from there."""
    lines = []
    trained = [row for activation in TABLES for row in chosen(rows, kind="trained", activation=activation)]
    for row in [*trained, *chosen(rows, kind="further", activation="elu")]:
        name = "descent" if row["kind"] == "trained" else "and L-BFGS"
        numbers = [f"{row[key][0]:.3g} to {row[key][1]:.3g}" for key in ("loss", "gradient", "weights", "curvature")]
        lines.append([TABLES[row["activation"]], str(row["distance"]), str(row["width"]), name, *numbers])
    return Table(["network", "d", "m", "trained by", "loss", "norm of gradient", "norm of weights", "curvature"], lines)


def judge(rows: Sequence[Row]) -> list[Finding]:
    """More stars among wider networks; all are stars where the paper has all; by every symmetry all are."""
    widths = sorted({row["width"] for row in rows})
    found = []
    for row in chosen(rows, kind="matching", width=widths[-1]):
        where = f"{TABLES[row['activation']]}, d = {row['distance']}"
        about = {key: row[key] for key in ("kind", "activation", "distance")}
        [narrow] = chosen(rows, width=widths[0], **about)
        pairs = enumerate(zip(row["worst"], narrow["worst"], strict=True))
        more = {(n,): statistics.fmean((a < e) - (b < e) for e in EPSILONS) for n, (a, b) in pairs}
        claim = f"More networks are stars at m = {widths[-1]} than at {widths[0]}, mean of the four ε"
        found.append(Finding.above(claim, where, more))
        share = shares(row)[2]
        claim = f"At ε = 0.001 all networks of m = {widths[-1]} are stars ({share:.2f})"
        found.append(Finding(claim, where, HOLDS if share == 1 else FAILS))
    every = chosen(rows, kind="all kinds", activation="identity")
    claim = f"Ours: modulo all symmetries all are stars at ε = 1e-06 ({len(every[0]['worst'])} networks of each width)"
    verdict = HOLDS if all(shares(row)[0] == 1 for row in every) else FAILS
    return [*found, Finding(claim, f"linear, d = {every[0]['distance']}", verdict)]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Share of stars by tolerance, a line for each width, beside the paper's."""
    import numpy as np

    from starcli.plots.style import LINE_STYLES, grow

    distances = list(dict.fromkeys(row["distance"] for row in rows))
    widths = list(dict.fromkeys(row["width"] for row in rows))

    def paint(figure: "Figure") -> None:
        grow(figure, 3.6)
        axes = figure.subplots(2, len(distances), sharex=True, sharey=True, squeeze=False)
        for line, (activation, name) in zip(axes, TABLES.items(), strict=True):
            for axis, distance in zip(line, distances, strict=True):
                for width, (color, marker, _) in zip(widths, LINE_STYLES, strict=False):
                    for kind, dash in zip(PERMUTATIONS, ("-", ":"), strict=True):
                        [row] = chosen(rows, kind=kind, width=width, activation=activation, distance=distance)
                        worst = np.sort(row["worst"])
                        axis.step(
                            np.maximum(worst, 1e-12), np.arange(1, len(worst) + 1) / len(worst), dash, color=color
                        )
                    axis.plot(EPSILONS, PAPER[activation, width], marker, color=color, label=f"m = {width}")
                axis.set_xscale("log")
                axis.set_xlim(1e-7, 1)
                axis.set_xticks(EPSILONS, ["1e-6", "", "0.001", "0.1"])
                axis.minorticks_off()
                axis.set_title(f"{name}, d = {distance}")
            line[0].set_ylabel("share of stars")
        for axis in axes[-1]:
            axis.set_xlabel("tolerance ε (nats)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(widths))

    return paint


WIDTHS = [2, 4, 8, 32]
NOTES = """\
The paper says that the data are two Gaussian classes in the plane, and neither how far apart nor how many points; nor
how networks are trained, and whether they have biases. Here `--data gaussians:distance=d`: means at a distance of d,
one covariance [[1, 0.5], [0.5, 1]], errors of the best classifier 12% for d = 2, 0.03% for 6, 1e-8 for 10. Networks
are x -> a · act(W x) with one logit and no biases, in float64, trained by 2,000 steps on all points with momentum. A
cell has the shares at ε = 1e-6 / 1e-5 / 1e-3 / 1e-1. *Winning* is the least barrier over permutations (the paper's
equation 2): all are tried up to m = 4, above that units are swapped from weight matching on until it no longer helps,
so that the share is at least what is shown. The last two columns are the program's (`sc.all_pairs`), over every
symmetry that it proves, on networks trained in the same way: by weights over *all kinds* (`--align weight
--align-kinds all`), and by `--align learn`. In the figure the lines are the shares (dotted: winning), the markers the
paper's.

**Why a share at 1e-6 or 1e-5 can be 0.** Where the classes overlap, the loss of a linear network is strictly convex
in its product v = Wᵀa, so that all solutions have the same v; all 100 networks reach it (last table: gradients below
1e-15). Half way on a line is v + δ, and the barrier δᵀHδ / 2, with H the second derivative of the loss by v. Its
largest eigenvalue is the table's curvature, 0.12 for d = 2, and |v| is 2.8: a barrier below 1e-6 asks for δ of 0.15%
of v where the loss is steepest, from 99 networks at once. Matching 32 units with 32 others is not as exact as that,
so that better training does not help. There all shares go from 0 to 1 within two decades of ε.

**What gives shares as in the paper.** Its shares are spread over five decades, as ours are where the classes do not
overlap. Then no solution exists: the loss falls to 0 as weights grow, and with it the curvature, by many orders of
magnitude, so that barriers have every size from 1e-20 to more than 10. The share at a small ε says how far the loss
has fallen, and with another rate or number of steps it is another; that it grows with the width remains.

**ELU.** Where classes overlap no optimum is in reach: L-BFGS goes on to lower losses at weights tens to hundreds of
times as large (last table), and there alone, if at all, the gradient falls to 1e-8. Networks are judged where the
2,000 steps left them, at nearly the same loss, with gradients of 1e-4 to 1e-3.

**Every symmetry.** Between two linear layers not permutations alone, but all invertible matrices act, which the
program derives and proves (`starcli spec explain`). Modulo these the solutions of a linear network are one orbit, at
any width, and weights over all kinds find it: what is left is the rounding of float32. So whatever barrier
permutations leave between linear networks is one of permutations being too few. Learning on the loss of 256 examples
leaves up to 0.001. With ELU there are permutations alone."""
EXPERIMENT = Experiment(
    name="gaussians",
    paper="Tables 3 and 4",
    claim="Of 100 two-layer networks, linear or with ELU, a larger share are stars as the width grows.",
    scales={
        "quick": {
            "distances": [2], "widths": [2, 8], "networks": 3, "points": 40, "steps": 10, "further": 1,
            "few": 3, "learned_steps": 20,
        },
        "here": {
            "distances": [2, 6, 10], "widths": WIDTHS, "networks": 100, "points": 500, "steps": 2000, "further": 3,
            "few": 8,
        },
        "full": {
            "distances": [2, 6, 10], "widths": WIDTHS, "networks": 100, "points": 1000, "steps": 2000, "further": 10,
            "few": 8,
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
    notes=NOTES,
)  # fmt: skip
