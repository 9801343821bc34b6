"""Figure 4: predictions averaged over a star domain, against the ensemble; a better average; one network instead.

Rows, by `kind`:

    average   posterior, law, samples; metrics, `T_` at a temperature; less_, low_, high_: what is above the ensemble's
    few       set; the same of a few sources with their fused star, against the ensemble of these sources
    one       name, models: the same of single networks, and of SWAG, against the ensemble of the first five sources
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paper import networks
from paper.alone import AT_T, METRICS, differences_of, measure_alone
from paper.networks import Network
from paper.record import FAILS, HOLDS, OPEN, Bench, Experiment, Finding, Row, Table
from paper.stars import chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAWS = {
    "t uniform (the paper's)": ("star", ""),
    "t uniform, in turn": ("star", "--in-turn"),
    "t = 0.9, in turn": ("star", "--sampling constant:0.9 --in-turn"),
    "fused star, then sources": ("fused", "--sampling ends --in-turn"),
}
"""Stars and ways to draw points, in words of `bma`; the last was best on the validation split of other networks."""
PAPERS, (NEAR, BETTER) = next(iter(LAWS)), list(LAWS)[-2:]
GOALS = ("accuracy", "nll", "brier", "aurc")
"""Metrics in which a better average is to be no worse than the ensemble."""
MARGIN = 0.01
"""What is worse by this share of the ensemble's is as good; of accuracy, of one less it."""
SHOWN = (2, 5, 10, 19)
"""Numbers of models in tables."""
FEW = 5
"""Sources of the ensemble that single networks, and stars of few, are held against."""
TAUGHT = {
    "distilled ensemble of 5": "--sources {near}",
    "distilled star domain": "--star {star} --sources {all} --sampling constant:0.9 --in-turn",
}
"""What `fuse --method distil` learns from."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Averages by each law, of many sources and of few, and networks that stand alone."""
    of, first, count = settings["network"], settings["first"], settings["sources"]
    folder = f"{of.name}-average"
    seeds = f"{first}-{first + count - 1}"
    bench.line(f"starcli train {of.train} {of.data} --seeds {seeds} -o '{folder}/{{seed}}.safetensors'")
    sources, star = _files(folder, first, count), f"{folder}/star.safetensors"
    bench.line(f"starcli star --sources {sources} {of.data} {of.star} --seed {first} -o {star}")
    stars = {"star": star, "fused": _fused(of, bench, sources, first, f"{folder}/fused.safetensors")}
    rows: list[Row] = []
    most = f"--samples {settings['samples']} --repeats {settings['repeats']} --temperature fit"
    for law, (kind, words) in LAWS.items():
        found = bench.line(f"starcli bma --star {stars[kind]} --sources {sources} {of.data} {most} {words}")
        rows += [_average(row, law) for row in found if law == PAPERS or row["posterior"] == "star"]
    few = min(FEW, count)
    for start in range(first, first + count - few + 1, few)[: settings["sets"]]:
        rows += _of_few(of, bench, folder, start, few)
    near, students = _files(folder, first, few), dict[str, str]()
    for name, words in TAUGHT.items():
        said, file = words.format(near=near, star=star, all=sources), f"{folder}/{name.replace(' ', '-')}"
        teach = f"starcli fuse --method distil {said} {of.data} {settings.get('distil', '')} --split test"
        bench.line(f"{teach} --seeds 0-{settings['students'] - 1} -o '{file}-{{seed}}.safetensors'")
        students |= {f"{name}, {seed}": f"{file}-{seed}.safetensors" for seed in range(settings["students"])}
    places = [f"{folder}/{seed}.safetensors" for seed in range(first, first + few)]
    what = f"# {len(students)} students, SWA and SWAG against the ensemble of {len(places)} of {folder}"
    return [*rows, *bench.keep(what, lambda: measure_alone(of, places, star, students, bench.out, settings["swag"]))]


def _files(folder: str, first: int, count: int) -> str:
    """Sources as a line names them."""
    return f"{folder}/{{{first}..{first + count - 1}}}.safetensors"


def _fused(of: Network, bench: Bench, sources: str, seed: int, file: str) -> str:
    """The place of a star that was found with its own loss as well."""
    bench.line(f"starcli fuse --sources {sources} {of.data} {of.star} --split test --seed {seed} -o {file}")
    return file


def _of_few(of: Network, bench: Bench, folder: str, first: int, count: int) -> list[Row]:
    """`count` sources from `first` on and their fused star, against the ensemble of these sources."""
    sources = _files(folder, first, count)
    star = _fused(of, bench, sources, first, f"{folder}/fused-{first}.safetensors")
    all_of_them = f"--samples {count + 1} --repeats 1 --temperature fit {LAWS[BETTER][1]}"
    found = bench.line(f"starcli bma --star {star} --sources {sources} {of.data} {all_of_them}")
    last = [row for row in found if (row["posterior"], row["samples"]) in (("ensemble", count), ("star", count + 1))]
    return [{"kind": "few", "set": first, **_scores(row), **_against(row)} for row in last]


def _average(row: Row, law: str) -> Row:
    """What is recorded of a row of `bma`."""
    found = {"kind": "average", "law": law, **_scores(row)} | {f"{name}_std": row[f"{name}_std"] for name in METRICS}
    return found | (_against(row) if row["samples"] in SHOWN else {})


def _scores(row: Row) -> Row:
    """Posterior, number of models and metrics of a row of `bma`."""
    scaled = row.get("scaled") or {}
    found = {name: row[name] for name in ("posterior", "samples", *METRICS)} | {"T": row.get("temperature")}
    return found | {f"T_{name}": scaled[name] for name in AT_T if name in scaled}


def _against(row: Row) -> Row:
    """What a row of `bma` has more than the ensemble."""
    parts = (("", "against_ensemble"), ("T_", "scaled_against_ensemble"))
    return {key: value for sign, name in parts for key, value in differences_of(sign, row.get(name) or {}).items()}


def tables(rows: Sequence[Row]) -> list[Table]:
    """Averages of some numbers of models, then networks that stand alone."""
    heads = [*METRICS.values(), "T", *(f"{METRICS[name]} at T" for name in AT_T)]
    first = []
    for samples in SHOWN:
        some = chosen(rows, kind="average", samples=samples)
        order = {"ensemble": 0, "star": 1}
        for row in sorted(some, key=lambda row: order[row["posterior"]]):
            name = "ensemble" if row["posterior"] == "ensemble" else f"star domain, {row['law']}"
            first.append([str(samples), name, *_cells(row)])
    second = []
    for row in chosen(rows, kind="few"):
        name = "their ensemble" if row["posterior"] == "ensemble" else "and their fused star"
        second.append([f"from {row['set']}", name, str(row["samples"]), *_cells(row)])
    third = [[row["name"], str(row["models"]), *_cells(row)] for row in _means(rows)]
    return [
        Table(["models", "posterior", *heads], first),
        Table([f"{FEW} sources", "average of", "models", *heads], second),
        Table(["network", "models", *heads], third),
    ]


def _cells(row: Row) -> list[str]:
    """The metrics of a row as words; a star where the 95% interval over examples sets it apart from the ensemble."""
    keys = [*METRICS, "T", *(f"T_{name}" for name in AT_T)]
    return [_cell(row, key) for key in keys]


def _cell(row: Row, key: str) -> str:
    sign, name = ("T_", key[2:]) if key.startswith("T_") else ("", key)
    low, high = row.get(f"{sign}low_{name}"), row.get(f"{sign}high_{name}")
    apart = low is not None and high is not None and (low > 0 or high < 0)
    value = row.get(key)
    return ("" if value is None else f"{value:.4f}") + ("\\*" if apart else "")


def _means(rows: Sequence[Row]) -> list[Row]:
    """The rows of single networks and students as means over these, the others as they are."""
    found: dict[str, list[Row]] = {}
    for row in chosen(rows, kind="one"):
        found.setdefault(row["name"], []).append(row)
    return [
        each[0]
        if len(each) == 1
        else {
            "name": f"{name} (mean of {len(each)})",
            "models": 1,
            **{key: sum(row[key] for row in each) / len(each) for key in each[0] if isinstance(each[0][key], float)},
        }
        for name, each in found.items()
    ]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """The paper's two claims by its law, then what a better average is to reach, and one network."""
    found = []
    averages = [row for row in chosen(rows, kind="average", posterior="star") if "less_nll" in row]
    for row in chosen(averages, law=PAPERS):
        where = f"{row['samples']} models"
        found.append(_above("the star domain has the higher AUROC", where, row, "auroc_max_prob"))
        found.append(_above("the star domain has the higher ECE", where, row, "ece"))
    for law in (NEAR, BETTER):
        for row in chosen(averages, law=law):
            found += [_as_good(row, name, f"{row['law']}, {row['samples']} models") for name in GOALS]
    for row in chosen(rows, kind="few", posterior="star"):
        where = f"{FEW} sources from {row['set']} and their fused star, against their ensemble"
        found += [_as_good(row, name, where) for name in GOALS]
    return [*found, *map(_as_accurate, chosen(rows, kind="one", name=tuple(TAUGHT)))]


def _above(claim: str, where: str, row: Row, name: str) -> Finding:
    less, low, high = _interval(row, name)
    verdict = HOLDS if low > 0 else FAILS if high < 0 else OPEN
    return Finding(claim, where, verdict, less, (low, high))


def _interval(row: Row, name: str, sign: str = "") -> tuple[float, float, float]:
    """A difference and its interval; not finite where there is none, as of AUROC without an error."""
    less, low, high = (row[f"{sign}{part}_{name}"] for part in ("less", "low", "high"))
    return tuple(math.nan if each is None else each for each in (less, low, high))  # type: ignore[return-value]


def _as_accurate(row: Row) -> Finding:
    """Whether a student is as accurate as the ensemble, within the 95% interval of the latter's own accuracy."""
    less, low, high = _interval(row, "accuracy")
    ensemble = row["accuracy"] - less
    margin = 1.96 * math.sqrt(ensemble * (1 - ensemble) / row["examples"])
    verdict = HOLDS if -margin <= low else FAILS if high < -margin else OPEN
    claim = f"accuracy of the ensemble of {FEW}, within its interval ({margin:.2g})"
    return Finding(claim, f"{row['name']}, seed {row['number']}", verdict, less, (low, high))


def _as_good(row: Row, name: str, where: str) -> Finding:
    """No worse than the ensemble by more than the margin; proper scores and AURC at the temperatures of both."""
    sign = "T_" if name in AT_T and f"T_low_{name}" in row else ""
    less, low, high = _interval(row, name, sign)
    if name == "accuracy":
        less, low, high = -less, -high, -low
    ensemble = row[f"{sign}{name}"] - row[f"{sign}less_{name}"]
    margin = MARGIN * (1 - ensemble if name == "accuracy" else ensemble)
    verdict = HOLDS if high <= margin else FAILS if low > margin else OPEN
    what = f"{'error' if name == 'accuracy' else METRICS[name]}{' at T' if sign else ''}"
    return Finding(f"{what} as low as the ensemble's (within {margin:.2g})", where, verdict, less, (low, high))


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Metrics against the number of models: the paper's law, the better one, and the ensemble."""
    from starcli.plots.style import BLUE, ORANGE, RED, grow

    lines = {
        "ensemble": (chosen(rows, kind="average", posterior="ensemble"), BLUE, "o", "--"),
        f"star domain, {PAPERS}": (chosen(rows, kind="average", posterior="star", law=PAPERS), RED, "^", "-"),
        BETTER: (chosen(rows, kind="average", posterior="star", law=BETTER), ORANGE, "s", "-"),
    }
    panels = {"auroc_max_prob": "AUROC (max. prob.)", "ece": "ECE", "T_nll": "loss at T (nats)", "aurc": "AURC"}

    def paint(figure: "Figure") -> None:
        grow(figure, 4.4)
        axes = figure.subplots(2, 2, sharex=True).flat
        for axis, (key, title) in zip(axes, panels.items(), strict=True):
            for name, (some, color, marker, dash) in lines.items():
                some = [row for row in some if row.get(key) is not None]
                places, values = [row["samples"] for row in some], [row[key] for row in some]
                axis.plot(places, values, dash, marker=marker, color=color, label=name)
            axis.set_title(title)
            axis.xaxis.get_major_locator().set_params(integer=True)
        for axis in figure.axes[2:]:
            axis.set_xlabel("models averaged")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)

    return paint


FASHION_MLP = replace(
    networks.FASHION_MLP,
    train="--arch mlp --arch-arg hidden_dim=128 depth=3 --val-fraction 0.1 --epochs 15 --stacked",
    star="--epochs 20",
)
"""Wide enough to be right nine times in ten, with a part of the data held back for temperatures."""
RESNET18 = replace(networks.RESNET18, train=f"{networks.RESNET18.train} --val-fraction 0.1")
TINY = replace(networks.TINY, train=f"{networks.TINY.train} --val-fraction 0.2")
SWAG = {"epochs": 10, "lr": 0.02}

EXPERIMENT = Experiment(
    name="bma",
    paper="Figure 4",
    claim="Averages over the star domain rank their errors better than the ensemble of as many models (AUROC), and are "
    "worse calibrated (ECE).",
    scales={
        "quick": {
            "network": TINY, "first": 0, "sources": 3, "samples": 3, "repeats": 2, "sets": 1, "students": 1,
            "distil": "--epochs 1", "swag": {"epochs": 4, "lr": 0.02},
        },
        "here": {
            "network": FASHION_MLP, "first": 100, "sources": 20, "samples": 19, "repeats": 3, "sets": 4, "students": 3,
            "distil": "--epochs 20", "swag": SWAG,
        },
        "full": {
            "network": RESNET18, "first": 0, "sources": 50, "samples": 19, "repeats": 5, "sets": 4, "students": 3,
            "swag": SWAG,
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
    notes="Intervals are over the test examples (paired bootstrap, 1,000 resamples), with the models as drawn "
    "and means over the repeats; so \\* marks what is apart from the ensemble of as many models, or of five. "
    "A better average is *as low as the ensemble's* where its interval ends at most 1% of the ensemble's own figure "
    "above it: what is apart by less is as good. "
    "Temperatures are fitted on the validation split, one for each average, of star domain and ensemble alike, and all "
    "models have BatchNorm statistics re-estimated. *In turn*: each source is drawn once before any again, as the "
    "ensemble does. The laws t = 0.9 and *fused star, then sources* were chosen on the validation split of networks of "
    "other seeds. A fused star is found with its own loss as well, at twice the price of a step; that of 5 sources has "
    "these alone. That it is a good member is due to its longer training: a plain network of as many gradients is a "
    "better one ([measured](../../docs/how-to/calibrated-averaging.md#what-to-expect)). SWA and SWAG (diagonal and "
    "rank 20) go on from the first source. Sources, star and the first "
    "two stars of 5 were trained before the record was begun: their six CPU minutes are not in its seconds.",
)  # fmt: skip
