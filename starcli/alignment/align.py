"""Aligning one checkpoint to another: the permutation that brings it nearest, and the same function under new names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from starcli.alignment.matching.search import wave_sizes
from starcli.alignment.matching.weight_matching import Match, distances
from starcli.checkpoints.checkpoint import AlignedTo, Checkpoint
from starcli.registry import METHODS, resolve
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.find import Proved
from starcli.symmetry.permutation import Permutation


@dataclass(frozen=True)
class Aligned:
    """`model` aligned to `reference`: how it was matched, and the distances before and after.

    Distances are L2 norms and cosines over the learnable parameters, tied ones once.
    """

    reference: Checkpoint
    model: Checkpoint
    match: Match
    method: str
    seed: int

    @property
    def permutation(self) -> Permutation:
        """The permutation that was applied to the model."""
        return self.match.permutation

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The model under its new names: the same function."""
        return self.permutation.apply(self.model.tensors)

    @property
    def record(self) -> AlignedTo:
        """What a checkpoint keeps of the alignment."""
        return AlignedTo(
            reference=self.reference.sha256,
            method=self.method,
            restarts=self.match.restarts,
            seed=self.seed,
            objective=self.match.objective,
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """The aligned model as a checkpoint in memory, for what measures or averages it next."""
        metadata = self.model.metadata.model_copy(update={"aligned_to": self.record, "weights_sha256": ""})
        return Checkpoint(self.tensors, metadata, self.model.name, self.model.path)

    def figures(self) -> dict[str, float | int | str]:
        """The numbers of DESIGN section 4, `align`, but for the output and the seconds."""
        spec = self.permutation.spec
        before, cosine_before = distances(self.reference.tensors, self.model.tensors, spec)
        after, cosine_after = distances(self.reference.tensors, self.tensors, spec)
        return {
            "reference": self.reference.name,
            "model": self.model.name,
            "method": self.method,
            "restarts": self.match.restarts,
            "distance_before": before,
            "distance_after": after,
            "cosine_before": cosine_before,
            "cosine_after": cosine_after,
            "objective": self.match.objective,
            "sweeps": self.match.sweeps,
            "moved": self.match.moved,
        }


FIGURES = ("objective", "sweeps", "restarts", "moved")


def align(
    spec: Proved,
    reference: Checkpoint,
    model: Checkpoint,
    *,
    method: str = "weight",
    restarts: int = 1,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Aligned:
    """Find the permutation of `model` that brings it nearest to `reference`, in the best of `restarts` searches."""
    match_models = resolve(METHODS, "method", method)
    match = match_models(
        reference.tensors, model.tensors, spec.resolved, seed=seed, restarts=restarts, progress=progress
    )
    return Aligned(reference, model, match, method, seed)


def align_all(
    spec: Proved,
    reference: Checkpoint,
    models: Sequence[Checkpoint],
    *,
    method: str = "weight",
    restarts: int = 1,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Aligned]:
    """Each of `models` aligned to `reference` on its own, exactly as `align` would; the ranks share them."""
    waves = wave_sizes(restarts)
    progress.start("aligning", distributed.own_share(len(models), waves))

    def found(model: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
        match = align(spec, reference, model, method=method, restarts=restarts, seed=seed, progress=progress).match
        progress.step()
        # what ranks tell each other: neither spec nor weights
        return dict(match.permutation.index), {name: getattr(match, name) for name in FIGURES}

    matches = distributed.share_out(models, found, waves)
    progress.finish()
    return [
        Aligned(reference, model, Match(Permutation(spec.resolved, index), **figures), method, seed)
        for model, (index, figures) in zip(models, matches, strict=True)
    ]


Aligner = Callable[[Checkpoint, Checkpoint], Checkpoint]
"""A function of (reference, model) that gives the model as it is to be measured."""


def aligner(spec: Proved, method: str | None, *, restarts: int = 1, seed: int = 0) -> Aligner | None:
    """An `Aligner` for `--align METHOD`; None where the files are to be taken as they are."""
    if method is None or method == "none":
        return None
    return lambda reference, model: (
        align(spec, reference, model, method=method, restarts=restarts, seed=seed).checkpoint
    )


def described(method: str | None, restarts: int, reference: Checkpoint, model: Checkpoint) -> str:
    """How a result says what alignment it rests on: `weight, 10 restarts`, `recorded` or `none`."""
    if method is not None and method != "none":
        return f"{method}, {restarts} restart{'s' if restarts != 1 else ''}"
    recorded = model.metadata.aligned_to, reference.metadata.aligned_to
    for mine, other in zip(recorded, (reference, model), strict=True):
        if mine is not None and mine.reference == other.sha256:
            return "recorded"
    if recorded[0] is not None and recorded[1] is not None and recorded[0].reference == recorded[1].reference:
        return "recorded (both to a third model)"
    return "none"


def left_by(star: Checkpoint, source: Checkpoint) -> bool:
    """Whether a source says that it was aligned to `star`, or kept by its search where that aligned nothing."""
    if source.metadata.aligned_to is not None:
        return source.metadata.aligned_to.reference == star.sha256
    search = (source.metadata.recipe or {}).get("aligned_by")
    return isinstance(search, Mapping) and search.get("run") == star.metadata.run_id
