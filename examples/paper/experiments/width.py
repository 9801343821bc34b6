"""Figure 3: what do width and depth do to the barriers of stars and of regular models?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paper import networks, stars
from paper.networks import Network
from paper.page import number
from paper.record import Bench, Experiment, Finding, Row, Table
from starcli.plots.style import BLACK, LINE_STYLES, grow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """A star of each size of each network."""
    rows: list[Row] = []
    sources, align = settings["sources"], settings["align"]
    for family, sizes in settings["families"].items():
        for size, network in sizes.items():
            study = stars.Study(bench, network, sources, settings["held_out"])
            study.train()
            found = study.stars(align, sources=sources)
            judged = study.all_lines(found, align, f"{family} {size}", first=True)
            rows += [{**row, "family": family, "size": size} for row in judged]
    return rows


def families(rows: Sequence[Row]) -> dict[str, dict[int, list[Row]]]:
    """Rows by family and size."""
    found: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        found.setdefault(row["family"], {}).setdefault(row["size"], []).append(row)
    return found


def points(sizes: Mapping[int, Sequence[Row]]) -> list[tuple[float, float]]:
    """Mean barriers between regular models, and from stars, by size."""
    means = []
    for some in sizes.values():
        groups = [stars.barriers(some, group) for group in (stars.REGULAR, stars.STAR)]
        means.append((sum(groups[0]) / len(groups[0]), sum(groups[1]) / len(groups[1])))
    return means


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the line through the origin that is nearest to the points: star-regular by regular-regular barrier."""
    return sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs)


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each network, and the lines of regression."""
    slopes = [[family, number(slope(points(sizes))), "about 1/3"] for family, sizes in families(rows).items()]
    columns = ["", "slope of star-regular by regular-regular, through the origin", "paper"]
    return [stars.star_table(rows, {}), Table(columns, slopes)]


def by_held_out(rows: Sequence[Row], group: str) -> dict[str, float]:
    """Mean train barrier by held-out model."""
    found: dict[str, list[float]] = {}
    for row in stars.chosen(rows, kind="barrier", group=group):
        found.setdefault(row["b"], []).append(row["train"])
    return {model: sum(values) / len(values) for model, values in found.items()}


def judge(rows: Sequence[Row]) -> list[Finding]:
    """The smallest against the largest network, and stars against regular models in each."""
    found = []
    for family, sizes in families(rows).items():
        small, large = min(sizes), max(sizes)
        for group in (stars.REGULAR, stars.STAR):
            few, many = (by_held_out(sizes[size], group) for size in (small, large))
            if "depth" in family:
                more = {(model,): many[model] - few[model] for model in few}
                found.append(Finding.above(f"the deeper the higher: {group}", f"{family} {large} less {small}", more))
            else:
                less = {(model,): few[model] - many[model] for model in few}
                found.append(Finding.above(f"the wider the lower: {group}", f"{family} {small} less {large}", less))
    return [*found, *stars.all_connected(rows)]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Star-regular against regular-regular barriers, with the line of regression and the diagonal."""
    from matplotlib.ticker import LogLocator

    def paint(figure: "Figure") -> None:
        found = families(rows)
        lines = -(-len(found) // 2)
        grow(figure, 2.6 * lines)
        axes = figure.subplots(lines, -(-len(found) // lines), squeeze=False)
        for place, (axis, (family, sizes)) in enumerate(zip(axes.flat, found.items(), strict=False)):
            pairs = points(sizes)
            color, marker, _ = LINE_STYLES[place]
            ends = [min(x for x, _ in pairs) / 1.5, max(x for x, _ in pairs) * 1.5]
            axis.plot(ends, ends, ":", color=BLACK, label="as far as regular models")
            axis.plot(ends, [x * slope(pairs) for x in ends], "-", color=color, label=f"slope {slope(pairs):.2f}")
            axis.plot(*zip(*pairs, strict=True), marker, color=color)
            for size, pair in zip(sizes, pairs, strict=True):  # the two largest lie near each other
                axis.annotate(f"{size}", pair, (3, -15 if size == max(sizes) else -7), textcoords="offset points")
            axis.set_xscale("log")
            axis.set_yscale("log")
            for side in (axis.xaxis, axis.yaxis):  # the style shows no formulas, such as powers of ten
                side.set_major_locator(LogLocator(subs=(1, 3)))
                side.set_major_formatter("{x:g}")
                side.set_minor_formatter("")
            axis.set_title(family)
            axis.set_xlabel("regular-regular (nats)")
            axis.legend(loc="upper left")
        for axis in axes.flat[len(found) :]:
            axis.set_axis_off()
        for axis in axes[:, 0]:
            axis.set_ylabel("star-regular (nats)")

    return paint


def perceptrons(*widths: int) -> dict[int, Network]:
    """Perceptrons of three hidden layers on the digits."""
    words = "--arch mlp --arch-arg hidden_dim={0} depth=3 --data digits --stacked"
    return {width: Network(f"mlp-{width}", words.format(width), "--epochs 50") for width in widths}


def of_fashion(*widths: int) -> dict[int, Network]:
    """The same on Fashion-MNIST."""
    of = networks.FASHION_MLP
    words = {width: of.train.replace("hidden_dim=64", f"hidden_dim={width}") for width in widths}
    return {width: replace(of, name=f"{of.name}-{width}", train=train) for width, train in words.items()}


def residual(argument: str, size: int) -> Network:
    """The small residual network with another `width`, or other `blocks`, of which 6 to 2 more are its depth."""
    train = f"{networks.RESNET.train} --arch-arg {argument}={size}"
    return replace(networks.RESNET, name=f"resnet-{argument[0]}{size}", train=train)


def wide(depth: int, width: int) -> Network:
    """One of the paper's Wide ResNets."""
    words = f"--recipe paper/wrn-cifar10 --arch-arg depth={depth} widen_factor={width}"
    return Network(f"wrn-{depth}-{width}", words, barrier="--statistics own-ends")


EXPERIMENT = Experiment(
    name="width",
    paper="Figure 3",
    claim="The wider the network the lower both barriers; at any width the star-regular one is about a third of the "
    "regular-regular one. Depth does the reverse, less clearly.",
    scales={
        "quick": {
            "families": {"MLP of width": {4: networks.TINY, 8: networks.TINY}},
            "sources": 2,
            "held_out": 3,
            "align": stars.WEIGHT,
        },
        "here": {
            "families": {
                "MLP of width": perceptrons(4, 16, 64, 256),
                "Fashion-MNIST's MLP of width": of_fashion(4, 16, 64, 256, 512),
                "ResNet of width": {
                    **{width: residual("width", width) for width in (2, 4)},
                    8: networks.RESNET,
                    16: residual("width", 16),
                },
                "ResNet of depth": {
                    8: networks.RESNET,
                    **{6 * blocks + 2: residual("blocks", blocks) for blocks in (2, 4)},
                },
            },
            "sources": 5,
            "held_out": 5,
            "align": stars.WEIGHT,
        },
        "full": {
            "families": {
                "WRN-22 of width": {width: wide(22, width) for width in (1, 2, 4, 8)},
                "WRN of depth": {depth: wide(depth, 1) for depth in (22, 28, 34, 40)},
            },
            "sources": 50,
            "held_out": 5,
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
    notes="ResNets of the digits have one block in each of three stages and 2, 4, 8 or 16 channels in the first; of 8 "
    "channels, 1, 2 or 4 blocks, which are 8, 14 or 26 layers.",
)
