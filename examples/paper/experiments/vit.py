"""Table 5 and Figure 6: stars of small vision transformers, without permutations as in the paper, and with them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from paper import networks, stars
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import source_trends

PAPER = ("5.687 ± 1.167", "2.312 ± 0.708")
"""Of 50 sources on MNIST, without permutations."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Stars of several numbers of sources by each alignment, judged by the same."""
    rows: list[Row] = []
    aligns = settings["aligns"]
    study = stars.Study(bench, settings["network"], max(map(max, aligns.values())), settings["held_out"])
    study.train()
    for align, counts in aligns.items():
        for count in counts:
            found = study.stars(align, sources=count)
            case = f"{stars.in_short(align)}, {count} sources"
            first = count == counts[-1]
            judged = study.all_lines(found, align, case, first=first)
            rows += [{**row, "sources": count} for row in judged]
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each alignment and number of sources."""
    most = max(row["sources"] for row in stars.chosen(rows, kind="loss"))
    return [stars.star_table(rows, {f"none, {most} sources": PAPER})]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Stars against regular models, and more sources against fewer."""
    found = stars.all_connected(rows)
    for align, counted in stars.by_sources(rows, "align").items():
        few, many = min(counted), max(counted)
        if few == many:
            continue
        names = ([row["star"] for row in stars.chosen(counted[n], kind="loss")] for n in (few, many))
        less = stars.better(stars.chosen(rows, align=align), *names)
        found.append(Finding.above("more sources, lower barrier", f"{align}, {few} less {many}", less))
    asked = [stars.in_short(align) for align in EXPERIMENT.scales["here"]["aligns"]]
    return [*found, *stars.not_run(stars.chosen(rows, network=networks.VIT.name), "align", asked)]


EXPERIMENT = Experiment(
    name="vit",
    paper="Table 5 and Figure 6",
    claim="Without any permutation the star of small vision transformers has a lower barrier to held-out ones than "
    "these have to one another, the lower the more sources.",
    scales={
        "quick": {
            "network": networks.TINY,
            "aligns": {"--align none": (2, 3), stars.WEIGHT: (2, 3)},
            "held_out": 3,
        },
        "here": {
            "network": networks.VIT,
            "aligns": {"--align none": (2, 5), stars.WEIGHT: (2, 5), "--align learn": (5,)},
            "held_out": 5,
        },
        "full": {
            "network": networks.of_the_paper("vit-mnist"),
            "aligns": dict.fromkeys(("--align none", "--align weight", "--align learn"), (10, 20, 30, 40, 50)),
            "held_out": 3,
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=partial(source_trends, by="align"),
    notes="With permutations, which the paper leaves open, whole heads and the units in each head change places. Stars "
    "whose own loss is far above that of their sources, as 60 epochs leave it here, are no solutions, whatever their "
    "barriers. Stars of the same transformers by `learn`, over all symmetries, are in `docs/alignment-measured.md`.",
)
