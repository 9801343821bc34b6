"""The bends of a curve as its files have them: in which order, of which form, and between which ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.barriers.path import LINE, Path, node_weights
from starcli.barriers.point import Point
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.hashes import weights_sha256
from starcli.checkpoints.metadata import Sha256
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import PathEnd
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Bends:
    """The points by which a path between two models goes: none, the bends of a trained curve, or any models.

    form: of the path. models: the bends in their order. ends: hashes of the models that a curve was trained between,
    the second one as it was aligned; None where the bends are other models, such as a star. alignment: how it was.
    """

    form: str = LINE
    models: Sequence[Checkpoint] = ()
    ends: tuple[Sha256, Sha256] | None = None
    alignment: Alignment = AS_GIVEN

    @classmethod
    def of(cls, models: Sequence[Checkpoint], progress: Progress = SILENT) -> "Bends":
        """The bends that `models` are: those of one curve, in any order, or others, which straight lines connect.

        A note says where they are others, and what these say that they are.
        StarcliError for bends of different curves, for a curve of which bends are missing, and for both kinds at once.
        """
        if not models:
            return cls()
        curves = [_curve_in(model) for model in models]
        if not any(curves):
            others = ", ".join(f"{model.name} ({model.metadata.kind})" for model in models)
            progress.note(f"no bend of a trained curve: {others}; straight lines go from each model to the next")
            return cls("polygon", models)
        first = curves[0]
        if any(_shared(each) != _shared(first) or not each for each in curves):
            raise StarcliError("these are not the bends of one curve", [_words(model) for model in models])
        numbered = sorted(zip((each["bend"] for each in curves), models, strict=True), key=lambda pair: pair[0])
        if [number for number, _ in numbered] != list(range(1, first["bends"] + 1)):
            raise StarcliError(
                f"a curve of {first['bends']} bends needs each of them once", [_words(model) for model in models]
            )
        alignment = Alignment(**first["align"]) if "align" in first else AS_GIVEN
        start, stop = first["ends"]
        return cls(first["form"], [model for _, model in numbered], (start, stop), alignment)

    def path(self, a: PathEnd, b: PathEnd) -> Path:
        """The path from a to b by way of these bends."""
        return Path([a, *(PathEnd(model.tensors) for model in self.models), b], self.form)

    def alignment_of(self, a: Checkpoint, b: Checkpoint) -> Alignment:
        """How b is to be aligned to a where nobody says it: as when the curve was trained, unless it is so already."""
        return AS_GIVEN if self.ends == (a.tensors_sha256, b.tensors_sha256) else self.alignment

    def unsettled(self, models: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
        """The first of `models`, and those whose alignment to it no curve settles: all but the other end of one."""
        return models if self.ends is None else [models[0], *models[2:]]

    def check_ends(self, a: Checkpoint, b: Checkpoint, last: Mapping[str, Tensor]) -> None:
        """StarcliError where a and `last`, which is b as it is aligned, are not the ends of the curve."""
        if self.ends is None:
            return
        ends = a.tensors_sha256, b.tensors_sha256 if last is b.tensors else weights_sha256(last)
        if self.ends == ends:
            return
        problems = ["it was trained from the second of them to the first"] if self.ends == ends[::-1] else []
        names = {each.sha256: each.name for each in self.models[0].metadata.ancestors}
        made = " and ".join(names.get(parent, parent[:12]) for parent in self.models[0].metadata.parents)
        if not problems:
            problems = [f"it was trained between {made}, the second one aligned: {self.alignment.title}"]
        raise StarcliError(f"{self.models[0].name}: {a.name} and {b.name} are not the ends of this curve", problems)

    def nodes(self, ends: Sequence[Checkpoint]) -> list[Checkpoint]:
        """All nodes of the path from the first of `ends` to the last; without bends the models themselves."""
        return [*ends[:1], *self.models, *ends[1:]]

    def tensors(
        self, workspace: "Workspace", ends: Sequence[Checkpoint], alignment: Alignment, progress: Progress = SILENT
    ) -> list[Mapping[str, Tensor]]:
        """State dicts of all nodes, of which bends stay and ends are aligned to the first; errors of `check_ends`."""
        others = Aligner(alignment, workspace).tensors_of_all(ends[0], ends[1:], progress=progress)
        if self.models:
            self.check_ends(ends[0], ends[-1], others[-1])
        return [ends[0].tensors, *(model.tensors for model in self.models), *others]

    def place(self, point: Point) -> Point:
        """Where (1 - t) A + t B lies on the path, as a mean of all nodes. StarcliError for a t beyond the ends."""
        if not self.models or point.weights is None:
            return point
        t = point.weights[-1]
        if not 0 <= t <= 1:
            raise StarcliError(f"a curve goes from t = 0 to t = 1, found {t:g}")
        return replace(point, weights=self.weights(t), curve=self.form)

    def weights(self, t: float) -> tuple[float, ...]:
        """The weight of each node at t."""
        return node_weights(self.form, len(self.models) + 2, t)

    def settings(self) -> dict[str, Any]:
        """Settings that decide a measurement of the path besides its ends; empty for a line."""
        hashes = [model.tensors_sha256 for model in self.models]
        return {"path": {"form": self.form, "bends": hashes}} if hashes else {}

    def row(self) -> dict[str, Any]:
        """The form of the path for its results, and the names of its bends."""
        return {"path": self.form, **({"bends": [model.name for model in self.models]} if self.models else {})}


def check_bends_fit(models: Sequence[Checkpoint]) -> None:
    """StarcliError where one of `models` is the bend of a curve between two others, which was trained to them aligned.

    Between the others as they are it says nothing of the curve.
    """
    for model in models:
        made = [each for each in models if each.sha256 in model.metadata.parents]
        if model.metadata.kind != "bend" or len(made) < 2:
            continue
        curve = _curve_in(model)
        if not {*curve["ends"]} <= {each.tensors_sha256 for each in models}:
            how = Alignment(**curve["align"]).title if "align" in curve else AS_GIVEN.title
            raise StarcliError(
                f"{model.name} is a bend of the curve from {made[0].name} to {made[1].name}, the second aligned: {how}",
                ["between these as they are it shows nothing; name it as their curve: --curve, in Python curve="],
            )


def _curve_in(model: Checkpoint) -> Mapping[str, Any]:
    """What a bend says of its curve, and of its ends; empty for other models."""
    if model.metadata.kind != "bend":
        return {}
    found = {**(model.metadata.recipe or {}).get("curve", {}), **(model.metadata.metrics or {}).get("curve", {})}
    if not {"form", "bends", "bend", "ends"} <= found.keys():
        raise StarcliError(f"{model.name}: does not say which bend of which curve it is")
    return found


def _shared(curve: Mapping[str, Any]) -> dict[str, Any]:
    """What all bends of a curve say alike."""
    return {name: value for name, value in curve.items() if name != "bend"}


def _words(model: Checkpoint) -> str:
    curve = _curve_in(model)
    return f"{model.name}: {'bend {bend} of {bends}, {form}'.format(**curve) if curve else model.metadata.kind}"


STRAIGHT = Bends()
"""No bends: the straight line."""
