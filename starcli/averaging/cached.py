"""Averages over the star domain, never measured twice."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from starcli.averaging.bma import METRICS, PosteriorRow, average_models
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.confidence import Reliability
from starcli.evaluation.measure import Measure
from starcli.files.cache import cached, hash_json, recall, remember
from starcli.runtime import distributed


def posterior_rows(
    measure: Measure, star: Checkpoint, sources: Sequence[Checkpoint], *, samples: int, repeats: int, seed: int
) -> list[PosteriorRow]:
    """Average predictions over the star domain of `sources`, over their ensemble, and of single models, or recall them.

    seed: of the draws.
    """
    weights = [star.sha256, *(source.sha256 for source in sources)]
    key = hash_json([measure.settings(), seed, samples, repeats, *weights])
    found = distributed.by_writer(lambda: recall("averages", key) if measure.is_kept else None)
    if found is None:
        found = [asdict(row) for row in _posterior(measure, star, sources, samples, repeats, seed, key)]
        if measure.is_kept:
            remember("averages", key, found)
    # sorted in the cache: results must not depend on whether they come from there
    ordered = [
        {**row, **{side: {name: row[side][name] for name in METRICS} for side in ("mean", "std")}} for row in found
    ]
    return [PosteriorRow(**{**row, "reliability": Reliability.from_dict(row["reliability"])}) for row in ordered]


def _posterior(
    measure: Measure, star: Checkpoint, sources: Sequence[Checkpoint], samples: int, repeats: int, seed: int, key: str
) -> list[PosteriorRow]:
    """Measured anew, but for the repeats that a run which was stopped has kept."""

    def keep(name: str, compute: Callable[[], Any]) -> Any:
        return cached("bma", hash_json([key, name]), compute) if measure.is_kept else compute()

    models = measure.alignment.tensors_of_all(measure.workspace.spec, star, sources, progress=measure.progress)
    generator = torch.Generator().manual_seed(seed)
    return average_models(
        measure.evaluator(), star.tensors, models, generator=generator, samples=samples, repeats=repeats, keep=keep
    )
