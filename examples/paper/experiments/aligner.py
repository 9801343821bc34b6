"""Figure 8: do stars stay ahead where Sinkhorn re-basin takes the place of weight matching?"""

from collections.abc import Mapping, Sequence
from typing import Any

from paper import networks, stars
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import paired_strips


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """A star by weight matching, judged by each aligner."""
    sources = settings["sources"]
    study = stars.Study(bench, settings["network"], sources, settings["held_out"])
    study.train()
    [star] = study.stars(settings["aligns"][0], sources=sources)
    rows: list[Row] = []
    for align in settings["aligns"]:
        rows += study.judge(star, align, stars.in_short(align))
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each aligner."""
    return [stars.star_table(rows, {})]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """The star by each aligner, and each aligner against weight matching between regular models."""
    (first, weight), *others = stars.cases(rows).items()
    found = stars.all_connected(rows)
    for case, some in others:
        of = [
            {(row["a"], row["b"]): row["train"] for row in stars.chosen(each, kind="barrier", group=stars.REGULAR)}
            for each in (weight, some)
        ]
        more = {key: of[1][key] - value for key, value in of[0].items()}
        found.append(
            Finding.above("a higher regular-regular barrier than weight matching", f"{case} less {first}", more)
        )
    return found


EXPERIMENT = Experiment(
    name="aligner",
    paper="Figure 8",
    claim="Aligned by Sinkhorn re-basin, too, the star is nearer to regular models than these are to one another; the "
    "barriers are higher than after weight matching.",
    scales={
        "quick": {
            "network": networks.TINY,
            "sources": 2,
            "held_out": 3,
            "aligns": (stars.WEIGHT, "--align sinkhorn --align-steps 2"),
        },
        "here": {"network": networks.RESNET, "sources": 5, "held_out": 5, "aligns": (stars.WEIGHT, "--align sinkhorn")},
        "full": {
            "network": networks.PAPER[3],
            "sources": 50,
            "held_out": 5,
            "aligns": ("--align weight", "--align sinkhorn"),
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=paired_strips,
    notes="`sinkhorn` here learns on the loss half way between the models, from where matching of activations ends; "
    "the paper has the variant that learns on the distance of the weights, of VGG-19, as its program knew no residual "
    "networks. So the second claim is of another method. That program, by the distance of the weights and by the "
    "loss, is beside this one's aligners in `docs/alignment-measured.md`.",
)
