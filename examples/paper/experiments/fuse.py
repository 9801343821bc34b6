"""Tables 2 and 11: several networks fused into one, beside them, the best of them and their ensemble; is it a star?"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper import networks, stars
from paper.page import spread
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import trends

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {
    2: ("95.21 ± 0.03", "95.24", "95.76", "95.30 ± 0.16", "0.31 ± 0.05"),
    5: ("95.07 ± 0.14", "95.24", "96.02", "95.17 ± 0.15", "0.25 ± 0.05"),
    50: ("95.13 ± 0.16", "95.44", "96.27", "95.32 ± 0.20", "0.12 ± 0.02"),
}
"""Of ResNet-18 on CIFAR-10, by number of models: regular, best, ensemble, star (Table 2); its barrier (Table 11)."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Fused models of several numbers of sources; their barriers to held-out models."""
    counts, align, seeds = settings["counts"], settings["align"], settings["seeds"]
    study = stars.Study(bench, settings["network"], max(counts), settings["held_out"])
    study.train()
    rows: list[Row] = []
    for count in counts:
        files, found = study.make("fuse", align, sources=count, stars=seeds)
        for each in found:
            if each["model"] in ("fused", "source", "ensemble") and each["split"] == "test":
                name = stars.seed_of(each["name"]) if each["model"] != "ensemble" else ""
                about = {"kind": "fused", "sources": count, "model": each["model"], "name": name}
                rows.append({**about, "accuracy": each["accuracy"], "loss": each["loss"]})
        judged = study.all_lines(files, align, f"{count} models", first=count == counts[-1])
        rows += [{**row, "sources": count} for row in judged]
    return list({(row["kind"], *(v for v in row.values() if isinstance(v, str | int))): row for row in rows}.values())


def accuracies(rows: Sequence[Row], count: int, model: str) -> dict[str, float]:
    """Test accuracies in percent, by name of the model."""
    return {row["name"]: 100 * row["accuracy"] for row in stars.chosen(rows, kind="fused", sources=count, model=model)}


def counts_of(rows: Sequence[Row]) -> list[int]:
    """The numbers of sources."""
    return list(dict.fromkeys(row["sources"] for row in stars.chosen(rows, kind="fused")))


def tables(rows: Sequence[Row]) -> list[Table]:
    """Table 2, then Table 11 with the losses."""
    lines = []
    for count in counts_of(rows):
        sources, fused = accuracies(rows, count, "source"), accuracies(rows, count, "fused")
        [ensemble] = accuracies(rows, count, "ensemble").values()
        ours = [
            spread([*sources.values()]),
            f"{max(sources.values()):.2f}",
            f"{ensemble:.2f}",
            spread([*fused.values()]),
        ]
        lines.append([str(count), *ours, *PAPER.get(count, ("",) * 5)[:4]])
    columns = ["models", "regular, % of test", "best of n", "ensemble", "fused"]
    first = Table([*columns, *(f"paper: {name}" for name in ("regular", "best", "ensemble", "fused"))], lines)
    return [first, stars.star_table(rows, {f"{n} models": ("0.38", four[4]) for n, four in PAPER.items()})]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Fused models against single ones, against their ensemble, and by their number; as stars."""
    found, counts = [], counts_of(rows)
    for count in counts:
        sources, fused = accuracies(rows, count, "source"), accuracies(rows, count, "fused")
        [ensemble] = accuracies(rows, count, "ensemble").values()
        gain = {(a, b): fused[b] - sources[a] for a, b in itertools.product(sources, fused)}
        lead = {(name,): ensemble - value for name, value in fused.items()}
        found.append(Finding.above("fused above the regular mean, points of accuracy", f"{count} models", gain))
        found.append(Finding.above("ensemble above fused, points of accuracy", f"{count} models", lead))
    few, many = ([*accuracies(rows, n, "fused").values()] for n in (counts[0], counts[-1]))
    more = {(n,): b - a for n, (a, b) in enumerate(zip(few, many, strict=True))}
    found.append(Finding.above("more models, higher accuracy", f"{counts[-1]} less {counts[0]}", more))
    names = (stars.names(rows, f"{n} models") for n in (counts[0], counts[-1]))
    less = stars.better(rows, *names)
    found.append(Finding.above("more models, lower barrier", f"{counts[0]} less {counts[-1]}", less))
    return [*found, *stars.all_connected(rows)]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Test errors against the number of models, and barriers."""
    counts = counts_of(rows)
    errors: dict[str, dict[float, list[float]]] = {
        model: {n: [100 - value for value in accuracies(rows, n, model).values()] for n in counts}
        for model in ("source", "ensemble", "fused")
    }
    cases = stars.cases(rows)
    groups: dict[str, dict[float, list[float]]] = {
        group: {n: stars.barriers(cases[f"{n} models"], group) for n in counts} for group in (stars.REGULAR, stars.STAR)
    }
    panels = {"test error (%)": errors, "train barrier (nats)": groups}
    return trends(panels, "number of models", "")


EXPERIMENT = Experiment(
    name="fuse",
    paper="Tables 2 and 11",
    claim="A model fused from several (the star's objective and its own loss) is more accurate than these on average, "
    "less than their ensemble; its barriers to held-out models fall with the number of models.",
    scales={
        "quick": {"network": networks.TINY, "counts": (2, 3), "held_out": 3, "seeds": 3, "align": stars.WEIGHT},
        "here": {
            "network": networks.FASHION_MLP,
            "counts": (2, 5, 20),
            "held_out": 5,
            "seeds": 3,
            "align": stars.WEIGHT,
        },
        "full": {
            "network": networks.RESNET18,
            "counts": (2, 5, 50),
            "held_out": 5,
            "seeds": 3,
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
    notes="The best of n is the best on the test split, as in the paper: it is chosen after the fact.",
)
