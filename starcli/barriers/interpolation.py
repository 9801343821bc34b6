"""Points in weight space: weighted means of models, and random points around one."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.errors import StarcliError, number_of
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.mixed_buffers import recomputed_buffers
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repairable_layers import fold_
from starcli.models.dtypes import common_types, in_types
from starcli.models.flat_network import FlatNetwork
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


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
    check_sum(weights)
    return _state_at(
        workspace, models, weights, lambda network: _combine_(network, models, weights), progress, renormalise
    )


def check_sum(weights: Sequence[float]) -> None:
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
