"""Beyond the paper: a star against the curves that mode connectivity trains for each pair of models."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper.networks import MLP, RESNET, RESNET18, TINY, Network
from paper.page import spread
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.stars import chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = 100
"""Seed of the first model of the first pair; the sources of the star that is for all pairs have those from 0."""

LINE, ALIGNED = "line", "line, aligned"
CURVE, BEZIER, POLYGON = "Bezier, as given", "Bezier", "polygon"
OWN, SHARED = "star of the pair", "star of others"
PATHS = (LINE, ALIGNED, CURVE, BEZIER, POLYGON, OWN, SHARED)
"""In the order of table and figure. Where nothing is said, B is aligned to A, and both to a star."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Paths of all kinds between the models of each pair, trained in so many epochs."""
    rows = []
    for network in settings["networks"]:
        pairs = [(FIRST + 2 * number, FIRST + 2 * number + 1) for number in range(settings["pairs"])]
        seeds = {"0": settings["sources"] - 1, str(FIRST): pairs[-1][1]}
        for first, last in seeds.items():
            output = f"-o '{network.name}/{{seed}}.safetensors'"
            bench.line(f"starcli train {network.train} {network.data} --seeds {first}-{last} {output}")
        at = Paths(bench, network, settings["align"])
        for pair in pairs:
            rows += [at.row(kind, None, pair, *at.line(kind, pair)) for kind in (LINE, ALIGNED)]
            for epochs in settings["budgets"]:
                rows += [at.row(kind, epochs, pair, *at.curve(kind, epochs, pair)) for kind in (CURVE, BEZIER, POLYGON)]
                rows.append(at.row(OWN, epochs, pair, *at.own(epochs, pair)))
        for epochs in settings["budgets"]:
            star = at.shared(epochs, settings["sources"], pairs)
            rows += [at.row(SHARED, epochs, pair, *at.over(star, f"to-{epochs}", pair)) for pair in pairs]
    return rows


class Paths:
    """Paths between models of a network: the words of `barrier` for each kind, once what it needs is made."""

    def __init__(self, bench: Bench, network: Network, align: str) -> None:
        self.bench, self.network, self.align, self.place = bench, network, align, network.name

    def models(self, pair: tuple[int, int], place: str = "") -> str:
        """Both models of a pair."""
        return " ".join(f"{self.place}/{place}{seed}.safetensors" for seed in pair)

    def line(self, kind: str, pair: tuple[int, int]) -> tuple[str, str]:
        """The straight line."""
        return self.models(pair), self.align if kind == ALIGNED else "--align none"

    def curve(self, kind: str, epochs: int, pair: tuple[int, int]) -> tuple[str, str]:
        """A curve with one bend."""
        align = "--align none" if kind == CURVE else self.align
        form = "polygon" if kind == POLYGON else "bezier"
        file = f"{self.place}/{form}{'-as-given' if kind == CURVE else ''}-{epochs}-{pair[0]}.safetensors"
        words = f"{self.network.data} {align} --form {form} --epochs {epochs} -o {file}"
        self.bench.line(f"starcli curve {self.models(pair)} {words}")
        return self.models(pair), f"--curve {file}"

    def own(self, epochs: int, pair: tuple[int, int]) -> tuple[str, str]:
        """By way of a star of these two, as its training aligned them."""
        file, kept = f"{self.place}/own-{epochs}-{pair[0]}.safetensors", f"own-{epochs}-{pair[0]}/"
        words = f"{self.network.data} {self.align} --epochs {epochs} --aligned-sources {self.place}/{kept} -o {file}"
        self.bench.line(f"starcli star --sources {self.models(pair)} {words}")
        return self.over(file, kept[:-1], pair)

    def shared(self, epochs: int, sources: int, pairs: Sequence[tuple[int, int]]) -> str:
        """A star of other models, to which those of all pairs are aligned."""
        of, file = f"{self.place}/{{0..{sources - 1}}}.safetensors", f"{self.place}/star-{epochs}.safetensors"
        self.bench.line(f"starcli star --sources {of} {self.network.data} {self.align} --epochs {epochs} -o {file}")
        some = f"{self.place}/{{{FIRST}..{pairs[-1][1]}}}.safetensors"
        how = self.align.replace("--align", "--method", 1)
        output = f"-o '{self.place}/to-{epochs}/{{name}}.safetensors'"
        self.bench.line(f"starcli align {file} {some} {self.network.data} {how} {output}")
        return file

    def over(self, star: str, place: str, pair: tuple[int, int]) -> tuple[str, str]:
        """From model to star to model, both as they are aligned to it in `place`."""
        return self.models(pair, f"{place}/"), f"--curve {star} --align none"

    def row(self, kind: str, epochs: int | None, pair: tuple[int, int], models: str, words: str) -> Row:
        """Height and barrier of a path, at 21 places."""
        line = f"starcli barrier {models} {words} {self.network.data} --points 21 {self.network.barrier}"
        [found] = self.bench.line(line)
        about = {"network": self.place, "path": kind, "pair": str(pair[0]), **({"epochs": epochs} if epochs else {})}
        heights = {split: found[split]["loss_max"] for split in ("train", "test")}
        return {**about, **heights, **{f"{split}_barrier": found[split]["loss_barrier"] for split in heights}}


def settings_in(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Each network with each number of epochs."""
    return list(dict.fromkeys((row["network"], row["epochs"]) for row in rows if "epochs" in row))


def of_path(rows: Sequence[Row], network: str, epochs: int, path: str) -> list[Row]:
    """Rows of a kind of path; a line takes no epochs."""
    return chosen(rows, network=network, path=path, epochs=(epochs, None))


def tables(rows: Sequence[Row]) -> list[Table]:
    """The height of each kind of path, for each network and number of epochs."""
    lines = [
        [network, str(epochs), path, *(spread([row[key] for row in of]) for key in ("train", "test", "train_barrier"))]
        for network, epochs in settings_in(rows)
        for path in PATHS
        if (of := of_path(rows, network, epochs, path))
    ]
    return [Table(["network", "epochs", "path", "largest train loss", "largest test loss", "train barrier"], lines)]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Heights of paths, in the training loss, held against each other pair by pair."""
    claims = (
        ("a Bezier curve is lower than the aligned line", ALIGNED, BEZIER),
        ("a Bezier curve is lower with its ends aligned", CURVE, BEZIER),
        ("a Bezier curve is lower than the polygon", POLYGON, BEZIER),
        ("a Bezier curve is lower than the way over a star of its two ends", OWN, BEZIER),
        ("a Bezier curve for each pair is lower than the way over one star of other models", SHARED, BEZIER),
        ("the way over one star of other models is lower than the aligned line", ALIGNED, SHARED),
    )
    found = []
    for network, epochs in settings_in(rows):
        for claim, high, low in claims:
            heights = [{row["pair"]: row["train"] for row in of_path(rows, network, epochs, p)} for p in (high, low)]
            differences = {(pair,): heights[0][pair] - heights[1][pair] for pair in heights[0]}
            found.append(Finding.above(claim, f"{network}, {epochs} epochs", differences))
    return found


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """The largest training loss on each path, a point for each pair."""
    from starcli.plots.style import BLACK, LINE_STYLES, grow

    networks = list(dict.fromkeys(row["network"] for row in rows))
    budgets = list(dict.fromkeys(epochs for _, epochs in settings_in(rows)))

    def paint(figure: "Figure") -> None:
        grow(figure, 2.4)
        axes = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
        for axis, network in zip(axes, networks, strict=True):
            for place, path in enumerate(PATHS):
                trained = budgets if path not in (LINE, ALIGNED) else [budgets[0]]
                for number, epochs in enumerate(trained):
                    color, marker, _ = LINE_STYLES[number]
                    values = [row["train"] for row in of_path(rows, network, epochs, path)]
                    at = place + (number - (len(trained) - 1) / 2) * 0.3
                    color = color if path not in (LINE, ALIGNED) else BLACK
                    axis.plot([at] * len(values), values, marker, color=color, alpha=0.7, markeredgewidth=0)
            axis.set_title(network)
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("")
            axis.set_xticks(range(len(PATHS)), PATHS, rotation=35, ha="right", rotation_mode="anchor")
            axis.grid(axis="x", visible=False)
        axes[0].set_ylabel("largest train loss on the path")
        for number, epochs in enumerate(budgets):
            color, marker, _ = LINE_STYLES[number]
            axes[-1].plot([], [], marker, color=color, markeredgewidth=0, label=f"{epochs} epochs")
        axes[-1].legend(loc="upper right", handlelength=1)

    return paint


EXPERIMENT = Experiment(
    name="curves",
    paper="not in the paper",
    claim="What mode connectivity knew before (Garipov et al. 2018), a curve that is trained for two models, against "
    "the way from one to the other over a star, at equal training cost.",
    notes="A pair's curve (one bend), its own star and the star of others take the same number of epochs, of one "
    "forward and backward pass a step; the star of others is trained once for all pairs, which it never saw. A star of "
    "two models is a polygon with one bend, but that it begins at random weights and aligns both ends to it anew in "
    "each epoch. Weight decay acts on bends and stars alike. Paths are measured at 21 places.",
    scales={
        "quick": {"networks": (TINY,), "pairs": 3, "sources": 2, "budgets": (1,), "align": "--align weight"},
        "here": {
            "networks": (RESNET, MLP),
            "pairs": 5,
            "sources": 5,
            "budgets": (25,),
            "align": "--align activation",
        },
        "full": {"networks": (RESNET18,), "pairs": 5, "sources": 50, "budgets": (200,), "align": "--align weight"},
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
)
