"""Averages over the star domain, never measured twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from starcli.alignment.measure import Measure
from starcli.alignment.notes import note_aligned_anew
from starcli.averaging.bma import COPIES_AVERAGED, COUNTS_AT_ONCE, Draws, average_models
from starcli.averaging.posterior_row import PosteriorRow, choose_samples
from starcli.averaging.sampling import check_renormalised
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.confidence import Confidence
from starcli.evaluation.renormalise import RECALIBRATE
from starcli.evaluation.repairable_layers import note_repaired
from starcli.evaluation.scoring import Scored, Scoring
from starcli.evaluation.tasks.task import Measures
from starcli.evaluation.temperature import NOT_FITTED
from starcli.files.cache import cached, forget, hash_json, recall, remember
from starcli.runtime import distributed
from starcli.workspace.stamp import stamps

_FORM = [each.name for each in (*fields(PosteriorRow), *fields(Scored), *fields(Confidence), *fields(Measures))]
"""What is kept: a key of other versions, which kept other things, is another key."""


def posterior_rows(
    measure: Measure,
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    scoring: Scoring,
    draws: Draws,
) -> list[PosteriorRow]:
    """Average predictions over the star domain of `sources`, over their ensemble, and of single models, or recall them.

    scoring: of the averages; where it is to choose, the rows of `choose_samples` come at the end. Draws by a function
    of the caller's own are always measured.
    """
    check_renormalised(draws.points, measure.renormalise)
    note_repaired(measure.workspace, measure.renormalise, measure.progress)
    weights = [star.tensors_sha256, *(source.tensors_sha256 for source in sources)]
    drawn = [draws.seed, draws.samples, draws.repeats, draws.points.settings()]
    key = hash_json([_FORM, measure.settings(), drawn, scoring.temperature, scoring.choose, *weights])
    is_kept = measure.is_kept and isinstance(draws.points.sampling, str)
    parts: list[str] = []

    def keep(name: str, compute: Callable[[], Any]) -> Any:
        """A part, or what a run that was stopped has kept of it."""
        if not is_kept:
            return compute()
        parts.append(hash_json([key, name]))
        return cached("bma", parts[-1], compute)

    found = distributed.by_writer(lambda: recall("averages", key) if is_kept else None)
    if found is None:
        scoring.need_room(COPIES_AVERAGED + (draws.repeats if draws.samples > COUNTS_AT_ONCE else 0))
        note_aligned_anew(measure.workspace, measure.alignment, [star, *sources], measure.progress)
        models = measure.aligner.tensors_of_all(star, sources, progress=measure.progress)
        averages = average_models(measure.evaluator(), star.tensors, models, draws, scoring=scoring, keep=keep)
        found = [asdict(row) for row in averages]
        if is_kept:
            remember("averages", key, found)
            for part in parts:
                forget("bma", part)
    rows = [PosteriorRow.from_dict(row) for row in found]
    if scoring.temperature is not None and any(row.temperature is None for row in rows):
        measure.progress.note(NOT_FITTED)
    return [*rows, *choose_samples(rows)] if scoring.choose else rows


def average_rows(
    measure: Measure,
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    scoring: Scoring,
    draws: Draws,
) -> Iterator[dict[str, Any]]:
    """The rows of `posterior_rows` with what says how they came about; only those of the star have points between."""
    aligned, stamp = measure.alignment.labels((star, each) for each in sources), stamps(measure.workspace)
    of_star = [star, *sources], measure.renormalise, draws.points.settings()
    own = {"alignment_seed": how.seed} if (how := measure.alignment).active and how.seed != draws.seed else {}
    for each in posterior_rows(measure, star, sources, scoring, draws):
        models, between, law = of_star if each.posterior == "star" else (sources, RECALIBRATE, {})
        drawn = {"alignment": aligned, "statistics": "recalibrate", "renormalise": between.title, "seed": draws.seed}
        yield {"split": measure.split, **each.to_dict(), **drawn, **own, **stamp(models), **law}
