"""Results of `starcli bma`: a row for each posterior at each number of models."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.results import LOSS, SHARE, Column, Results
from starcli.cli.shared_columns import LOSS_KIND, PRECISION, RENORMALISED

if TYPE_CHECKING:
    from starcli.averaging.sampling import PointSampling
    from starcli.plots.rows import ResultRow

_COLUMNS = (
    Column("posterior", "posterior"),
    Column("split", "split", common=True),
    Column("samples", "samples", "d", main=True),
    Column("accuracy", "accuracy", SHARE, main=True),
    Column("accuracy_std", "±", SHARE, optional=5),
    Column("loss", "loss", LOSS, main=True),
    Column("loss_std", "±", LOSS, optional=6),
    *(each for each in Column.of_metrics("{}", "{}") if each.key != "accuracy"),
    Column("nll", "loss", LOSS, main=True),
    Column("nll_std", "±", LOSS, optional=6),
    Column("brier", "Brier", LOSS, optional=4),
    Column("ece", "ECE", LOSS, optional=2),
    Column("auroc_max_prob", "AUROC", ".3f", optional=3),
    Column("aurc", "AURC", LOSS, optional=7),
    Column("verdict", "than ensemble"),
    Column("temperature", "T", ".3f"),
    Column("scaled.nll", "loss at T", LOSS),
    Column("scaled.ece", "ECE at T", LOSS, optional=1),
    Column("scaled_verdict", "than ensemble at T"),
    Column("sampling", "t drawn", common=True, usual="uniform"),
    Column("in_turn", "sources in turn", common=True, usual="no"),
    Column("validation_nll", "validation loss", LOSS),
    Column("validation_loss", "validation loss", LOSS),
    Column("alignment", "alignment", common=True),
    RENORMALISED,
    PRECISION,
    LOSS_KIND,
)


def shown_averages(rows: "Iterable[ResultRow]", points: "PointSampling", results: Results) -> "Iterator[ResultRow]":
    """Show `rows`, whose points are drawn as `points`, and yield them as a figure takes them."""
    for row in rows:
        results.add("bma", row if results.for_programs else _for_people({**row, **points.settings()}), _COLUMNS)
        yield {"type": "bma", **row}


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose posterior says if its number of models was chosen, with a word on it beside the ensemble."""
    from starcli.evaluation.confidence import mark_undecided

    posterior = row["posterior"] + (", chosen" if row.get("selected_on") else "")
    models = row.get("ensemble_samples")
    of = "" if models in (None, row["samples"]) else f"of {models}, "
    verdicts = {f"{kind}verdict": _verdict(row.get(f"{kind}against_ensemble"), of) for kind in ("", "scaled_")}
    return {**mark_undecided(row), "posterior": posterior, **verdicts}


def _verdict(differences: Mapping[str, Any] | None, of: str) -> str | None:
    """Which metrics are better or worse than the ensemble's; `of` says which ensemble.

    >>> found = {"accuracy": {"verdict": "not decided"}, "nll": {"verdict": "worse"}, "aurc": {"verdict": "worse"}}
    >>> _verdict(found, of="")
    'worse: loss, AURC'
    """
    if differences is None:
        return None
    names = {"accuracy": "accuracy", "nll": "loss", "brier": "Brier", "ece": "ECE"}
    names |= {"auroc_max_prob": "AUROC", "aurc": "AURC"}
    found = {
        verdict: [names[metric] for metric, each in differences.items() if each["verdict"] == verdict]
        for verdict in ("better", "worse")
    }
    return of + ("; ".join(f"{word}: {', '.join(some)}" for word, some in found.items() if some) or "not decided")
