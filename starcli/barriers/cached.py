"""Barriers between checkpoints: aligned first where that is asked for, and never measured twice.

What was measured is kept in the cache under the hashes of the weights, the data and every setting, so that a stopped or
repeated command goes on with what is missing.
"""

from collections.abc import Sequence

from starcli.alignment.measure import Measure
from starcli.barriers.bends import STRAIGHT, Bends
from starcli.barriers.described import Describer
from starcli.barriers.groups import REGULAR, TO_HELD_OUT, TO_SOURCES, TRAINED, UNALIGNED
from starcli.barriers.line_barrier import Barrier
from starcli.barriers.pairs import Pair, barriers
from starcli.barriers.star_report import StarReport, measure_star
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.evaluator import Evaluator, PathEnd
from starcli.evaluation.rows import note_other_loss
from starcli.files.cache import hash_json, recall, remember
from starcli.runtime import distributed


class CachedBarriers:
    """The barriers of pairs as they are kept between runs: a `BarrierStore` by the models' hashes.

    `by_themselves`: the second of a pair is measured as it is aligned to the first, not taken to have the scores that
    it has before, which are the same but for rounding.
    """

    def __init__(
        self,
        measure: Measure,
        hashes: Sequence[str],
        *,
        aligned: bool = True,
        by_themselves: bool = False,
        bends: Bends = STRAIGHT,
    ) -> None:
        self.hashes, self.is_kept = hashes, measure.is_kept
        self.settings = measure.settings() | ({} if aligned else {"align": None}) | bends.settings()
        if self.settings["align"] is not None and by_themselves:
            self.settings["align"] |= {"ends": "aligned"}
        self.known: dict[Pair, Barrier | None] = {}

    def recall(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Read `pairs` where rank 0 keeps them, and let `get` say the same on all ranks; those that are missing."""
        self.known = distributed.by_writer(lambda: {pair: self._read(pair) for pair in pairs})
        return [pair for pair in pairs if self.known[pair] is None]

    def _key(self, pair: Pair) -> str:
        return hash_json([self.settings, *(self.hashes[position] for position in pair)])

    def get(self, pair: Pair) -> Barrier | None:
        """The barrier that was measured before, or None; a damaged entry counts as none."""
        return self.known[pair] if pair in self.known else self._read(pair)

    def _read(self, pair: Pair) -> Barrier | None:
        found = recall("barriers", self._key(pair)) if self.is_kept else None
        try:
            return None if found is None else Barrier.from_dict(found)
        except (AttributeError, KeyError, TypeError):
            return None

    def put(self, pair: Pair, value: Barrier) -> None:
        """Keep a measurement."""
        if self.is_kept:
            remember("barriers", self._key(pair), value.to_dict())


def _hashes(models: Sequence[Checkpoint]) -> list[str]:
    return [model.tensors_sha256 for model in models]


def cached_lines(measure: Measure, first: Checkpoint, others: Sequence[Checkpoint], bends: Bends) -> list[Barrier]:
    """Measure the lines from one model to each of `others`, or the curve by way of `bends`; or recall them.

    The others are aligned as `starcli align` would and then measured as if read from its files: to the bit the same.
    StarcliError where bends of a trained curve would be measured between other ends than its own.
    """
    kept = CachedBarriers(measure, _hashes([first, *others]), by_themselves=True, bends=bends)
    pairs = [(0, number + 1) for number in range(len(others))]
    # what is aligned here has to be just what `barriers` misses, whatever lies in other ranks' caches
    missing = kept.recall(pairs)
    ends = [PathEnd(first.tensors), *(PathEnd(other.tensors) for other in others)]
    if measure.alignment.active and missing:
        models = [others[number - 1] for _, number in missing]
        moved = measure.aligner.apply_to_all(first, models, progress=measure.progress)
        for (_, number), aligned in zip(missing, moved, strict=True):
            ends[number] = PathEnd(aligned.tensors)
    for _, number in missing:
        bends.check_ends(first, others[number - 1], ends[number].model)
    evaluator = measure.evaluator()
    found = barriers(evaluator, ends, pairs, points=measure.points, store=kept, bends=bends)
    _note_other_losses(evaluator, [first, *others], pairs, found)
    describe = Describer(measure)
    return [describe.line(first, other, each, bends) for other, each in zip(others, found, strict=True)]


def cached_pairs(measure: Measure, models: Sequence[Checkpoint], pairs: Sequence[Pair]) -> list[Barrier]:
    """Measure the lines of `pairs` of models, or recall them; the second of each is aligned to the first."""
    kept = CachedBarriers(measure, _hashes(models))
    ends, evaluator = [PathEnd(model.tensors) for model in models], measure.evaluator()
    found = barriers(evaluator, ends, pairs, points=measure.points, alignment=measure.alignment, store=kept)
    _note_other_losses(evaluator, models, pairs, found)
    describe = Describer(measure)
    return [describe.line(models[i], models[j], each) for (i, j), each in zip(pairs, found, strict=True)]


def cached_star_report(
    measure: Measure,
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    held_out: Sequence[Checkpoint],
    aligned_sources: Sequence[Checkpoint],
) -> StarReport:
    """Whether `star` is one: the paper's Table 1 row."""
    kept = CachedBarriers(measure, _hashes([*sources, *held_out, star]))
    names = (REGULAR, TO_SOURCES, TO_HELD_OUT)
    as_they_are = CachedBarriers(measure, _hashes([*sources, *held_out, star]), aligned=False)
    trained = CachedBarriers(measure, _hashes([*aligned_sources, star]), aligned=False)
    evaluator = measure.evaluator()
    report = measure_star(
        evaluator,
        star.tensors,
        [source.tensors for source in sources],
        [model.tensors for model in held_out],
        alignment=measure.alignment,
        aligned_sources=[source.tensors for source in aligned_sources],
        points=measure.points,
        stores={**dict.fromkeys(names, kept), UNALIGNED: as_they_are, TRAINED: trained},
    )
    groups = [report.groups[name] for name in (TO_SOURCES, TO_HELD_OUT)]
    pairs = [pair for group in groups for pair in group.pairs]
    found = [barrier for group in groups for barrier in group.barriers]
    _note_other_losses(evaluator, [*sources, *held_out, star], pairs, found)
    return Describer(measure).star(star, [*sources, *held_out], aligned_sources, report)


def _note_other_losses(
    evaluator: Evaluator, models: Sequence[Checkpoint], pairs: Sequence[Pair], found: Sequence[Barrier]
) -> None:
    """Notes on models whose losses are not those of their files, where they are measured just as these have them."""
    if not evaluator.keeps_models:
        return
    last = evaluator.splits[-1]
    losses = {
        place: barrier.curves[last].loss[side]
        for pair, barrier in zip(pairs, found, strict=True)
        for place, side in zip(pair, (0, -1), strict=True)
    }
    for place, loss in losses.items():
        note_other_loss(evaluator.workspace, models[place], last, loss, evaluator.progress)
