"""Points in weight space as they are asked for: where each lies, what its file records, and how it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.barriers.interpolation import check_sum, interpolate_models, perturb_model
from starcli.errors import StarcliError, need_several, number_of
from starcli.evaluation.batchnorm_statistics import has_batch_statistics
from starcli.evaluation.evaluator import Model
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.models.tensor_names import names_like
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

LARGEST_FLOAT32 = 1e38
"""Weights are multiplied in float32, whose largest number this nearly is."""


@dataclass(frozen=True)
class Point:
    """A point in weight space: a weighted mean of models, or a random point at `radius` around one of them.

    weights: one a model, summing to 1; None for a random point. radius: its L2 distance from the model. seed: of the
    draw of its direction. renormalise: what is done to its activations. curve: form of the curve on which it lies, of
    which the models are the nodes. Raises StarcliError where activations are to be restored to what lies between those
    of the models, and the point does not lie between models. only: patterns of names of the tensors in which the point
    lies between the models, all others being those of the first (Adilova et al. 2024, "Layer-wise Linear Mode
    Connectivity"); empty for all.
    """

    weights: Sequence[float] | None = None
    radius: float = 0.0
    seed: int = 0
    renormalise: Renormalise = RECALIBRATE
    curve: str | None = None
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.only and (self.weights is None or self.curve is not None):
            what = "a random point" if self.weights is None else "a point of a curve"
            raise StarcliError(f"--only is for means and points of lines, found {what}")
        if self.renormalise.active and not all(0 <= weight <= 1 for weight in self.weights or [-1]):
            raise StarcliError(
                "--renormalise repair and --renormalise-logits are for points between models",
                ["found a random point around one" if self.weights is None else "found weights outside 0 to 1"],
            )

    def settings(self) -> dict[str, Any]:
        """The point as the recipe of its file records it."""
        place = {"radius": self.radius, "seed": self.seed} if self.weights is None else {"weights": list(self.weights)}
        form = {} if self.curve is None else {"curve": self.curve}
        only = {"only": list(self.only)} if self.only else {}
        return {**place, **form, **only, **self.renormalise.settings()}

    def need_data(self, workspace: "Workspace") -> None:
        """Refuse to make the point, before any work, where its BatchNorm statistics need data that nothing names."""
        if has_batch_statistics(workspace.outline()) and not workspace.names_data:
            raise StarcliError(
                "--data is needed: BatchNorm's running statistics of models do not hold between them, and are "
                "estimated anew on the training data: add --data NAME, a folder or FILE.npz"
            )

    def make(
        self, workspace: "Workspace", models: Sequence[Model], *, progress: Progress = SILENT
    ) -> dict[str, Tensor]:
        """The model at this point, as a full state dict on the CPU, its BatchNorm statistics re-estimated."""
        if self.weights is not None:
            nodes, how = self._moved(workspace, models), self.renormalise
            return interpolate_models(workspace, nodes, self.weights, renormalise=how, progress=progress)
        generator = torch.Generator().manual_seed(self.seed)
        return perturb_model(workspace, models[0], self.radius, generator, progress=progress)

    def _moved(self, workspace: "Workspace", models: Sequence[Model]) -> Sequence[Model]:
        """The models, with the first one's tensors in the place of all that are not to move."""
        if not self.only:
            return models
        names = names_like(workspace.outline(), self.only, "--only")
        return [{**models[0], **{name: model[name] for name in names}} for model in models]


@dataclass(frozen=True)
class PointsAsked:
    """Points that are asked for by one of `t`, `weights` and `perturb`; by none of them it is the mean of all models.

    t: a place on a line or curve each. weights: one a model. perturb: the distance of a random point from one model,
    in a direction drawn by `seed`. only: as of `Point`.
    """

    t: Sequence[float] | None
    weights: Sequence[float] | None
    perturb: float | None
    only: Sequence[str]
    seed: int

    def among(self, count: int, *, on_curve: bool, aligned: bool) -> list[tuple[str, Point]]:
        """The points among so many models, each beside its t in words, which others have not.

        aligned: whether models are to be aligned first. StarcliError for more than one of the three, numbers that are
        too large, and another number of models than they take.
        """
        self._check(count, on_curve=on_curve, aligned=aligned)
        only = tuple(self.only)
        if self.perturb is not None:
            return [("", Point(radius=self.perturb, seed=self.seed, only=only))]
        if self.t is not None:
            return [(f"{t:g}", Point([1 - t, t], only=only)) for t in self.t]
        return [("", Point([1 / count] * count if self.weights is None else self.weights, only=only))]

    def _check(self, count: int, *, on_curve: bool, aligned: bool) -> None:
        ts, weights, radius = self.t, self.weights, self.perturb
        if (found := sum(each is not None for each in (ts, weights, radius))) > 1:
            raise StarcliError(f"interpolate takes one of --t, --weights and --perturb, found {found}")
        if on_curve and (ts is None or count != 2):
            raise StarcliError("--curve takes points at --t between two models, A and B")
        for option, numbers in (("t", ts), ("weights", weights), ("perturb", None if radius is None else [radius])):
            if wrong := [f"{number:g}" for number in numbers or () if not abs(number) < LARGEST_FLOAT32]:
                raise StarcliError(f"--{option} {' '.join(wrong)}: expected numbers that a 32-bit float can hold")
        if radius is not None:
            if count != 1:
                raise StarcliError(f"--perturb takes one model, found {count}")
            if aligned:
                raise StarcliError("--perturb takes one model, and --align needs two")
            return
        need_several(range(count), "interpolate")
        if ts is not None:
            if count != 2:
                raise StarcliError(
                    f"--t goes from one model to another, found {number_of(count, 'model')}; --weights combines several"
                )
            if twice := [f"{t:g}" for t in dict.fromkeys(ts) if ts.count(t) > 1]:
                raise StarcliError(f"--t {' '.join(twice)}: occurs more than once, and each t is one point")
        if weights is not None and len(weights) != count:
            raise StarcliError(f"--weights: {number_of(len(weights), 'weight')} for {number_of(count, 'model')}")
        if weights is not None:
            check_sum(weights)
