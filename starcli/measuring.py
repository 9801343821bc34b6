"""Barriers and posteriors between checkpoints: aligned first where that is asked for, and never measured twice.

What was measured is kept in the cache under the hashes of the weights, the data and every setting, so that a stopped or
repeated command goes on with what is missing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from starcli import __version__
from starcli.alignment.align import align_all, described
from starcli.bma import METRICS, Row, bma
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.evaluator import Evaluator, PathEnd, Statistics
from starcli.files.cache import cached, hash_json, recall, remember
from starcli.path import Align, Barrier, Model, barriers
from starcli.registry import METHODS, resolve
from starcli.report import TRAINED, UNALIGNED, StarReport, star_report
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.workspace.data import record_of
from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Measure:
    """How barriers are measured: the same for every pair of a comparison."""

    workspace: Workspace
    method: str | None = None
    restarts: int = 1
    seed: int = 0
    points: int = 11
    statistics: Statistics = "recalibrate"
    progress: Progress = SILENT

    @property
    def aligns(self) -> bool:
        """Whether models are aligned before they are measured."""
        return self.method is not None and self.method != "none"

    def described(self, reference: Checkpoint, model: Checkpoint) -> str:
        """How a result says what alignment it rests on."""
        return described(self.method, self.restarts, reference, model)

    def alignments(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> str:
        """The alignments that `pairs` rest on: all that occur."""
        return ", ".join(sorted({self.described(a, b) for a, b in pairs}))

    def evaluator(self) -> Evaluator:
        """The network that everything is measured in."""
        return Evaluator(self.workspace, statistics=self.statistics, progress=self.progress)

    def align(self) -> Align | None:
        """Alignment of bare tensors, for pairs whose models take part in several."""
        if not self.aligns:
            return None
        match = resolve(METHODS, "method", str(self.method))
        spec = self.workspace.spec.resolved

        def aligned(reference: Model, model: Model) -> Model:
            found = match(reference, model, spec, seed=self.seed, restarts=self.restarts)
            result: Model = found.permutation.apply(model)
            return result

        return aligned

    def settings(self) -> dict[str, Any]:
        """All that decides a measurement besides the weights."""
        how = {"method": self.method, "restarts": self.restarts, "seed": self.seed}
        return {
            "architecture": self.workspace.architecture.model_dump(mode="json"),
            "data": record_of(self.workspace.dataset).model_dump(mode="json"),
            "align": {**how, "spec": self.workspace.spec.resolved.sha256} if self.aligns else None,
            "points": self.points,
            "statistics": self.statistics,
            "precision": self.workspace.precision,
            "device": self.workspace.device.type,
            "program": __version__,
        } | ({"code": self.workspace.code} if self.workspace.code else {})


class Kept:
    """The barriers of pairs as they are kept between runs: a `Store` of `starcli.path`, by the models' hashes.

    `by_themselves`: the second of a pair is measured as it is aligned to the first, not taken to have the scores that
    it has before, which are the same but for rounding.
    """

    def __init__(
        self, measure: Measure, hashes: Sequence[str], *, aligned: bool = True, by_themselves: bool = False
    ) -> None:
        self.hashes = hashes
        self.settings = measure.settings() | ({} if aligned else {"align": None})
        if self.settings["align"] is not None and by_themselves:
            self.settings["align"] |= {"ends": "aligned"}
        self.known: dict[tuple[int, int], Barrier | None] = {}

    def recall(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Read `pairs` where rank 0 keeps them, and let `get` say the same on all ranks; those that are missing."""
        self.known = distributed.by_writer(lambda: {pair: self._read(pair) for pair in pairs})
        return [pair for pair in pairs if self.known[pair] is None]

    def _key(self, pair: tuple[int, int]) -> str:
        return hash_json([self.settings, *(self.hashes[position] for position in pair)])

    def get(self, pair: tuple[int, int]) -> Barrier | None:
        """What was measured before, or None; a damaged entry counts as none."""
        return self.known[pair] if pair in self.known else self._read(pair)

    def _read(self, pair: tuple[int, int]) -> Barrier | None:
        found = recall("barriers", self._key(pair))
        try:
            return None if found is None else Barrier.from_json({k: v for k, v in found.items() if k != "points"})
        except (AttributeError, KeyError, TypeError):
            return None

    def put(self, pair: tuple[int, int], value: Barrier) -> None:
        """Keep a measurement."""
        remember("barriers", self._key(pair), value.to_json())


def to_each(measure: Measure, first: Checkpoint, others: Sequence[Checkpoint]) -> list[Barrier]:
    """The paths from one model to each of `others`.

    Those are aligned as `starcli align` would and then measured as if read from its files: to the bit the same.
    """
    kept = Kept(measure, [first.sha256, *(other.sha256 for other in others)], by_themselves=True)
    pairs = [(0, number + 1) for number in range(len(others))]
    # what is aligned here has to be just what `barriers` misses, whatever lies in other ranks' caches
    missing = kept.recall(pairs)
    ends = [PathEnd(first.tensors), *(PathEnd(other.tensors) for other in others)]
    if measure.aligns and missing:
        how: Mapping[str, Any] = {"method": measure.method, "restarts": measure.restarts, "seed": measure.seed}
        models = [others[number - 1] for _, number in missing]
        found = align_all(measure.workspace.spec, first, models, progress=measure.progress, **how)
        for (_, number), aligned in zip(missing, found, strict=True):
            ends[number] = PathEnd(aligned.tensors)
    return barriers(measure.evaluator(), ends, pairs, points=measure.points, store=kept)


def all_pairs(measure: Measure, models: Sequence[Checkpoint], pairs: Sequence[tuple[int, int]]) -> list[Barrier]:
    """The paths of `pairs` of models; with a method, the second of each is aligned to the first."""
    kept = Kept(measure, [model.sha256 for model in models])
    ends = [PathEnd(model.tensors) for model in models]
    return barriers(measure.evaluator(), ends, pairs, points=measure.points, align=measure.align(), store=kept)


def of_star(
    measure: Measure,
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    held_out: Sequence[Checkpoint],
    aligned_sources: Sequence[Checkpoint] = (),
) -> StarReport:
    """Whether `star` is one: the paper's Table 1 row."""
    kept = Kept(measure, [model.sha256 for model in (*sources, *held_out, star)])
    names = ("regular-regular", "star-source", "star-held-out")
    as_they_are = Kept(measure, [model.sha256 for model in (*sources, *held_out, star)], aligned=False)
    trained = Kept(measure, [model.sha256 for model in (*aligned_sources, star)], aligned=False)
    return star_report(
        measure.evaluator(),
        star.tensors,
        [source.tensors for source in sources],
        [model.tensors for model in held_out],
        align=measure.align(),
        aligned_sources=[source.tensors for source in aligned_sources],
        points=measure.points,
        stores={**dict.fromkeys(names, kept), UNALIGNED: as_they_are, TRAINED: trained},
    )


def posterior_rows(
    measure: Measure, star: Checkpoint, sources: Sequence[Checkpoint], *, samples: int, repeats: int
) -> list[Row]:
    """Bayesian model averages over the star domain of `sources`, over their ensemble, and single models."""
    weights = [star.sha256, *(source.sha256 for source in sources)]
    key = hash_json([measure.settings(), measure.seed, samples, repeats, *weights])
    found = distributed.by_writer(lambda: recall("bma", key))
    if found is None:
        found = [vars(row) for row in _posterior(measure, star, sources, samples, repeats, key)]
        remember("bma", key, found)
    # sorted in the cache: results must not depend on whether they come from there
    ordered = [
        {**row, **{side: {name: row[side][name] for name in METRICS} for side in ("mean", "std")}} for row in found
    ]
    return [Row(**row) for row in ordered]


def _posterior(
    measure: Measure, star: Checkpoint, sources: Sequence[Checkpoint], samples: int, repeats: int, key: str
) -> list[Row]:
    """Measured anew, but for the repeats that a run which was stopped has kept."""

    def keep(name: str, compute: Callable[[], Any]) -> Any:
        return cached("bma", hash_json([key, name]), compute)

    models = [source.tensors for source in sources]
    if measure.aligns:
        how: Mapping[str, Any] = {"method": measure.method, "restarts": measure.restarts, "seed": measure.seed}
        found = align_all(measure.workspace.spec, star, sources, progress=measure.progress, **how)
        models = [each.tensors for each in found]
    generator = torch.Generator().manual_seed(measure.seed)
    return bma(
        measure.evaluator(), star.tensors, models, generator=generator, samples=samples, repeats=repeats, keep=keep
    )


def inner_product(spec: Resolved, first: Model, second: Model) -> float:
    """The objective of weight matching: the inner product over learnable parameters, tied ones once, in float64."""
    return sum(float((first[name].double() * second[name].double()).sum()) for name in spec.learnable())


__all__ = ["Kept", "Measure", "all_pairs", "inner_product", "of_star", "posterior_rows", "to_each"]
