"""Points in weight space: weighted means of models, and random points around one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.errors import StarcliError, need_several, number_of
from starcli.evaluation.batchnorm_statistics import has_batch_statistics
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.mixed_buffers import recomputed_buffers
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repairable_layers import fold_
from starcli.models.dtypes import common_types, in_types
from starcli.models.flat_network import FlatNetwork
from starcli.models.tensor_names import names_like
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

LARGEST_FLOAT32 = 1e38
"""Weights are multiplied in float32, whose largest number this nearly is."""


def _combine_(network: FlatNetwork, models: Sequence[Model], weights: Sequence[float]) -> None:
    """Put sum_i weights[i] models[i] into the parameters of `network`; two models exactly as `barrier` does."""
    if len(models) == 2:
        start, stop = map(network.flatten, models)
        with torch.no_grad():
            torch.lerp(start, stop, weights[1], out=network.parameters)
        return
    total = torch.zeros(network.parameters.shape, dtype=torch.float64)  # float64: many small terms
    for model, weight in zip(models, weights, strict=True):
        total.add_(network.flatten(model).cpu().double(), alpha=weight)
    with torch.no_grad():
        network.parameters.copy_(total)


def _state_at(
    workspace: "Workspace",
    models: Sequence[Model],
    weights: Sequence[float],
    put_: Callable[[FlatNetwork], None],
    progress: Progress,
    renormalise: Renormalise = RECALIBRATE,
    base: Sequence[Model] = (),
) -> dict[str, Tensor]:
    """State of the point that `put_` puts into a network's parameters, in the types of `models` and `base`, on the CPU.

    Buffers are those of `models`, averaged by `weights`, and what follows from weights and data is computed in float32.
    All else is computed in float64 and rounded once, unless it is float32 throughout.
    """
    evaluator = Evaluator(workspace, renormalise=renormalise, progress=progress)
    types = common_types([*models, *base])
    targets = evaluator.moments_between([PathEnd(model) for model in models], weights)
    put_(evaluator.network)
    evaluator.load_buffers(models, weights)
    corrections = evaluator.renormalise_(targets)
    state = evaluator.network.state()
    if set(types.values()) <= {torch.float32}:
        return state
    exact = workspace.network(dtype=torch.float64)
    put_(exact)
    exact.load_buffers(models, weights)
    for name, correction in corrections.items():
        fold_(exact.network.get_submodule(name), *correction)
    computed = recomputed_buffers(evaluator.network.network)
    return in_types(exact.state() | {name: state[name] for name in computed}, types)


def interpolate_models(
    workspace: "Workspace",
    models: Sequence[Model],
    weights: Sequence[float],
    *,
    renormalise: Renormalise = RECALIBRATE,
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """sum_i weights[i] models[i], with BatchNorm statistics re-estimated, as a full state dict on the CPU.

    Weights sum to 1 and may lie outside [0, 1]; for two models that is the line, (1 - t, t). Other float buffers are
    averaged like weights, integers come from the first model. Tensors have the types of the models'. What else
    `renormalise` does is folded into the weights. Raises StarcliError for weights that do not sum to 1 within 1e-6.
    """
    if len(models) != len(weights) or not models:
        sizes = number_of(len(models), "model"), number_of(len(weights), "weight")
        raise StarcliError(f"{sizes[0]} and {sizes[1]}: there must be one weight a model")
    _check_sum(weights)
    return _state_at(
        workspace, models, weights, lambda network: _combine_(network, models, weights), progress, renormalise
    )


def _check_sum(weights: Sequence[float]) -> None:
    """Refuse weights of a mean that do not sum to 1."""
    if not abs(math.fsum(weights) - 1) <= 1e-6:
        raise StarcliError(f"the weights sum to {math.fsum(weights):g}, expected 1")


def complete_state(
    workspace: "Workspace",
    parameters: Model,
    models: Sequence[Model],
    *,
    base: Sequence[Model] = (),
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """The state of a model of these learnable `parameters` that was made of `models`, and perhaps a `base`, on the CPU.

    Its other tensors are the mean of `models`, and what follows from weights and data is computed anew, as of
    `interpolate_models`. Its types hold those of all.
    """

    def put_(network: FlatNetwork) -> None:
        network.flatten(parameters, out=network.parameters)

    return _state_at(workspace, models, [1 / len(models)] * len(models), put_, progress, base=base)


def perturb_model(
    workspace: "Workspace",
    model: Model,
    radius: float,
    generator: torch.Generator,
    *,
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """A uniform random point on the sphere of `radius` (L2, over learnable parameters) around `model`.

    model + radius * g / |g| with g standard normal; statistics re-estimated. Section D.5 of the paper.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise StarcliError(f"the radius must be a number of at least 0, found {radius}")
    state = generator.get_state()

    def put_(network: FlatNetwork) -> None:
        generator.set_state(state)  # the same point, to whatever precision
        direction = torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
        direction *= radius / direction.norm()
        with torch.no_grad():
            network.parameters.copy_(network.flatten(model).cpu().double().add_(direction))

    return _state_at(workspace, [model], [1.0], put_, progress)


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


def points_asked(
    count: int,
    ts: Sequence[float] | None,
    weights: Sequence[float] | None,
    radius: float | None,
    seed: int,
    only: Sequence[str] = (),
    *,
    on_curve: bool,
    aligned: bool = False,
) -> list[tuple[str, Point]]:
    """The points among `count` models that are asked for by one of `ts`, `weights` and `radius`, or their mean.

    Each stands beside its t in words, which others have not. only: as of `Point`. aligned: whether models are to be
    aligned first.

    StarcliError for more than one of these, numbers that are too large, and another number of models than they take.
    """
    if (found := sum(each is not None for each in (ts, weights, radius))) > 1:
        raise StarcliError(f"interpolate takes one of --t, --weights and --perturb, found {found}")
    if on_curve and (ts is None or count != 2):
        raise StarcliError("--curve takes points at --t between two models, A and B")
    for option, numbers in (("t", ts), ("weights", weights), ("perturb", None if radius is None else [radius])):
        if wrong := [f"{number:g}" for number in numbers or () if not abs(number) < LARGEST_FLOAT32]:
            raise StarcliError(f"--{option} {' '.join(wrong)}: expected numbers that a 32-bit float can hold")
    moved = tuple(only)
    if radius is not None:
        if count != 1:
            raise StarcliError(f"--perturb takes one model, found {count}")
        if aligned:
            raise StarcliError("--perturb takes one model, and --align needs two")
        return [("", Point(radius=radius, seed=seed, only=moved))]
    need_several(range(count), "interpolate")
    if ts is not None:
        if count != 2:
            raise StarcliError(
                f"--t goes from one model to another, found {number_of(count, 'model')}; --weights combines several"
            )
        if twice := [f"{t:g}" for t in dict.fromkeys(ts) if ts.count(t) > 1]:
            raise StarcliError(f"--t {' '.join(twice)}: occurs more than once, and each t is one point")
        return [(f"{t:g}", Point([1 - t, t], only=moved)) for t in ts]
    if weights is not None and len(weights) != count:
        raise StarcliError(f"--weights: {number_of(len(weights), 'weight')} for {number_of(count, 'model')}")
    if weights is not None:
        _check_sum(weights)
    return [("", Point([1 / count] * count if weights is None else weights, only=moved))]
