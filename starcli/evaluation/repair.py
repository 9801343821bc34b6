"""REPAIR: mean and standard deviation of each unit at a point between models, restored to what lies between theirs.

At a point sum_i w_i theta_i the units of a layer have the mean sum_i w_i mean_i and the deviation sum_i w_i std_i,
where mean_i and std_i are those of the models, over the un-augmented training split (the padding of texts is no part
of it) and before the nonlinearity. Averaged weights would have less deviation ("variance collapse"). Jordan et al.
2022, section 4.

The layers are repaired in the order of their calls, each with those before it repaired, so that the moments are exact,
and the same network comes out as with the scaling and shifting as layers of their own: they are folded into weights
and biases. For L layers these are L forward passes, each as far as its layer: about (L + 1) / 2 whole ones at a point;
the moments of the models cost one pass a model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from starcli.evaluation.moments import Moments
from starcli.evaluation.repairable_layers import RepairableLayer, fold_
from starcli.models.logits import token_places
from starcli.models.modes import modes_restored, plain_attention, set_eval_
from starcli.runtime.device import float64
from starcli.runtime.progress import SILENT, Progress

CONSTANT = 1e-6
"""A unit that deviates by less than this part of its mean is constant, but for rounding: it is shifted, not scaled."""

VALUES_AT_ONCE = 2**22
"""Values of a layer that are taken in float64 together: 32 MiB."""


@dataclass(frozen=True)
class UnitMoments:
    """Mean and standard deviation of the units of a layer: (units,) each, float64."""

    mean: Tensor
    std: Tensor

    @property
    def vary(self) -> Tensor:
        """Which units are not constant, (units,)."""
        return self.std > CONSTANT * self.mean.abs()


NetworkMoments = Mapping[str, UnitMoments]
"""The moments of each repaired layer, by its name."""

Corrections = Mapping[str, tuple[Tensor, Tensor]]
"""By which scale and shift each layer was repaired, by its name."""


def moments_between(models: Sequence[NetworkMoments], weights: Sequence[float]) -> NetworkMoments:
    """sum_i weights[i] of the moments of models; where they are equal, exactly theirs."""

    def mean(values: Sequence[Tensor]) -> Tensor:
        first, *others = values
        return first + sum(weight * (each - first) for each, weight in zip(others, weights[1:], strict=True))

    return {
        name: UnitMoments(mean([each[name].mean for each in models]), mean([each[name].std for each in models]))
        for name in models[0]
    }


class _Reached(BaseException):
    """Ends a forward pass at the layer that was waited for; no network catches it as an error of its own."""


@dataclass(frozen=True)
class Repair:
    """Measures and repairs `layers` of a network with the weights and BatchNorm statistics that are loaded.

    batches: of the training split. recalibrate: estimates the statistics of BatchNorm anew.

    >>> from starcli.evaluation.renormalise import Renormalise
    >>> from starcli.evaluation.repairable_layers import repairable_layers
    >>> network, data = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(50, 2)
    >>> repair = Repair(network, repairable_layers(network, data, Renormalise("repair")), [(data, None)])
    >>> _ = repair.restore_({"0": UnitMoments(torch.zeros(3), torch.ones(3))})
    >>> [round(std, 5) for std in repair.measure()["0"].std.tolist()]
    [1.0, 1.0, 1.0]
    """

    network: nn.Module
    layers: Sequence[RepairableLayer]
    batches: Iterable[tuple[Tensor, Any]]
    recalibrate: Callable[[], None] = lambda: None
    autocast: Any = field(default_factory=nullcontext)
    progress: Progress = SILENT

    def measure(self) -> NetworkMoments:
        """The moments of all layers as the network is, in one pass."""
        return self._measured(self.layers)

    def restore_(self, targets: NetworkMoments) -> Corrections:
        """Bring the moments of all layers to `targets`, in place."""
        corrections = {}
        for layer in self.layers:
            [found], target = self._measured([layer], until=layer).values(), targets[layer.name]
            scale = torch.where(found.vary & target.vary, target.std / found.std, 1.0)
            corrections[layer.name] = scale, target.mean - scale * found.mean
            fold_(self.network.get_submodule(layer.name), *corrections[layer.name])
            if layer.norm_follows:
                self.recalibrate()
        return corrections

    def _measured(self, layers: Sequence[RepairableLayer], until: RepairableLayer | None = None) -> NetworkMoments:
        """The moments of `layers`, each forward pass ending where it reaches `until`."""
        moments = {layer.name: Moments() for layer in layers}
        texts: Tensor | None = None  # (batch * length,), where there is padding: which tokens are none

        def observe(layer: RepairableLayer, module: nn.Module, arguments: Any, output: Tensor) -> None:
            values = layer.units(output, module)  # (positions, units)
            if texts is not None and len(values) == len(texts):
                values = values[texts]
            for some in torch.split(values, max(VALUES_AT_ONCE // values.shape[1], 1)):
                if len(some):
                    variance, mean = torch.var_mean(float64(some), dim=0, correction=min(len(some) - 1, 1))
                    moments[layer.name].add(len(some), mean, variance)
            if layer is until:
                raise _Reached

        with ExitStack() as stack:
            stack.enter_context(modes_restored(self.network))
            stack.enter_context(plain_attention())
            for layer in layers:
                hook = self.network.get_submodule(layer.name).register_forward_hook(partial(observe, layer))
                stack.callback(hook.remove)
            set_eval_(self.network)
            for inputs, _ in self.batches:
                self.progress.stop_if_asked()
                texts = token_places(inputs)
                with torch.inference_mode(), self.autocast, suppress(_Reached):
                    self.network(inputs)
        return {name: UnitMoments(each.mean, each.unbiased_variance().sqrt()) for name, each in moments.items()}
