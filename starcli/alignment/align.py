"""Alignment: a model brought nearest to a reference by renaming its units, which changes no function."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from starcli.alignment.matching.method import Match, MatchMethod
from starcli.alignment.matching.restarts import wave_sizes
from starcli.alignment.matching.weight_matching import distances
from starcli.checkpoints.checkpoint import AlignedTo, Checkpoint
from starcli.errors import StarcliError
from starcli.registry.alignment_methods import METHODS
from starcli.registry.entry import lookup, resolve
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.find import Proved
from starcli.symmetry.permutation import Permutation

FIGURES = ("objective", "sweeps", "restarts", "moved")
"""What ranks tell each other of a match besides its permutation."""


@dataclass(frozen=True)
class Alignment:
    """How models are aligned: by which method, in how many restarts, from which seed.

    method: a name of `starcli.registry.alignment_methods`; None or "none" takes models as they are.
    restarts: rounds of the search, 0 for one plain descent.
    seed: of everything that the search draws.

    StarcliError for an unknown method or restarts below 0.

    >>> Alignment("weight", restarts=10).title
    'weight, 10 restarts'
    >>> Alignment("none").active
    False
    """

    method: str | None = "weight"
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method == "none":
            object.__setattr__(self, "method", None)
        if self.method is not None:
            lookup(METHODS, "method", self.method)
        if self.restarts < 0:
            raise StarcliError(f"restarts is at least 0, found {self.restarts}")

    @property
    def active(self) -> bool:
        """Whether models are aligned at all."""
        return self.method is not None

    @property
    def title(self) -> str:
        """Method and restarts as people read them: `weight, 10 restarts`, or `none`."""
        return f"{self.method}, {self.restarts} restart{'s' if self.restarts != 1 else ''}" if self.active else "none"

    def label(self, reference: Checkpoint, model: Checkpoint) -> str:
        """What a result of these two rests on: the title, or what the files record (`recorded`), or `none`."""
        if self.active:
            return self.title
        recorded = model.metadata.aligned_to, reference.metadata.aligned_to
        for mine, other in zip(recorded, (reference, model), strict=True):
            if mine is not None and mine.reference == other.sha256:
                return "recorded"
        if recorded[0] is not None and recorded[1] is not None and recorded[0].reference == recorded[1].reference:
            return "recorded (both to a third model)"
        return "none"

    def labels(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> str:
        """All labels that occur among `pairs` of reference and model, sorted."""
        return ", ".join(sorted({self.label(reference, model) for reference, model in pairs}))

    def settings(self) -> dict[str, Any]:
        """`method`, `restarts` and `seed`, as a file's recipe and the cache keep them."""
        return asdict(self)

    def record(self, reference_sha256: str, objective: float) -> AlignedTo:
        """What the checkpoint of an aligned model keeps: the reference, how it was aligned, the objective reached."""
        assert self.method is not None
        return AlignedTo(
            reference=reference_sha256,
            method=self.method,
            restarts=self.restarts,
            seed=self.seed,
            objective=objective,
        )

    @property
    def matching(self) -> MatchMethod:
        """The method itself; StarcliError where there is none."""
        method: MatchMethod = resolve(METHODS, "method", self.method or "none")
        return method

    def match(
        self,
        spec: Resolved,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        *,
        progress: Progress = SILENT,
    ) -> Match:
        """The permutation of `model` that brings it nearest to `reference`, both state dicts, in the best search.

        StarcliError where this alignment has no method, or the tensors do not fit the spec or are not finite.
        """
        return self.matching.one(reference, model, spec, seed=self.seed, restarts=self.restarts, progress=progress)

    def permuted(
        self, spec: Resolved, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """`model` under the units' names of `reference`, both state dicts; as it is where nothing is to be aligned."""
        return self.match(spec, reference, model).permutation.apply(model) if self.active else model

    def apply(
        self, spec: Proved, reference: Checkpoint, model: Checkpoint, *, progress: Progress = SILENT
    ) -> "Aligned":
        """`model` aligned to `reference`: the match and all that follows from it."""
        match = self.match(spec.resolved, reference.tensors, model.tensors, progress=progress)
        return Aligned(reference, model, match, self)

    def apply_to_all(
        self, spec: Proved, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
    ) -> "list[Aligned]":
        """Each of `models` aligned to `reference` on its own, exactly as `apply` would; the ranks share them."""
        waves = wave_sizes(self.restarts)
        progress.start("aligning", distributed.own_share(len(models), waves))

        def found(model: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
            match = self.match(spec.resolved, reference.tensors, model.tensors, progress=progress)
            progress.step()
            # what ranks tell each other: neither spec nor weights
            return dict(match.permutation.index), {name: getattr(match, name) for name in FIGURES}

        matches = distributed.share_out(models, found, waves)
        progress.finish()
        return [
            Aligned(reference, model, Match(Permutation(spec.resolved, index), **figures), self)
            for model, (index, figures) in zip(models, matches, strict=True)
        ]

    def tensors_of_all(
        self, spec: Proved, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
    ) -> list[Mapping[str, Tensor]]:
        """State dicts of `models`, aligned to `reference` where this alignment has a method, else as they are."""
        if not self.active:
            return [model.tensors for model in models]
        return [each.tensors for each in self.apply_to_all(spec, reference, models, progress=progress)]


AS_GIVEN = Alignment(method=None)
"""Models are taken as they are."""


@dataclass(frozen=True)
class Aligned:
    """`model` aligned to `reference`: how it was matched, and the distances before and after.

    Distances are L2 norms and cosines over the learnable parameters, tied ones once.
    """

    reference: Checkpoint
    model: Checkpoint
    match: Match
    alignment: Alignment

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
        return self.alignment.record(self.reference.sha256, self.match.objective)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The aligned model as a checkpoint in memory, for what measures or averages it next."""
        metadata = self.model.metadata.model_copy(update={"aligned_to": self.record, "weights_sha256": ""})
        return Checkpoint(self.tensors, metadata, self.model.name, self.model.path)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The figures of one alignment, as `starcli align` shows them, but for the output and the seconds."""
        spec = self.permutation.spec
        before, cosine_before = distances(self.reference.tensors, self.model.tensors, spec)
        after, cosine_after = distances(self.reference.tensors, self.tensors, spec)
        return {
            "reference": self.reference.name,
            "model": self.model.name,
            "method": self.alignment.method,
            "restarts": self.match.restarts,
            "distance_before": before,
            "distance_after": after,
            "cosine_before": cosine_before,
            "cosine_after": cosine_after,
            "objective": self.match.objective,
            "sweeps": self.match.sweeps,
            "moved": self.match.moved,
        }

    def recorded(self) -> dict[str, float | int | str | None]:
        """The figures as a file keeps them: with base names, for where the models lay is of no matter there."""
        return {**self.to_dict(), "reference": self.reference.base_name, "model": self.model.base_name}


def is_left_by(star: Checkpoint, source: Checkpoint) -> bool:
    """Whether a source says that it was aligned to `star`, or kept by its search where that aligned nothing."""
    if source.metadata.aligned_to is not None:
        return source.metadata.aligned_to.reference == star.sha256
    search = (source.metadata.recipe or {}).get("aligned_by")
    return isinstance(search, Mapping) and search.get("run") == star.metadata.run_id
