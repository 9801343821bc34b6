"""Re-estimation of BatchNorm statistics: mean and variance of a network's activations over a whole data set.

InstanceNorm that keeps statistics has the means over examples of each one's own mean and variance. A layer that is
called several times in a forward pass has the mean over its calls of each call's mean and variance, as torch's running
averages (`torch.optim.swa_utils.update_bn`) have it.

An averaged network needs them, because the statistics of its parents are those of other activations ("variance
collapse"). A running average with momentum 0.1 sees the last batches only; here every batch counts by its size, and is
pooled in float64. Within a batch torch sums in float32: with channels innermost its CPU kernel errs by 1e-5 of a
deviation in the mean, by 5e-4 of a variance over a million values, and losses by 1e-6 (measured against float64).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from starcli.errors import StarcliError
from starcli.models.modes import modes_restored
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress

PIXELS_PER_BATCH = 2**17
"""Input pixels in a batch: 128 images of 32 x 32.

On CPUs the activations of such a batch still fit the caches; four times as much is slower by a quarter, ten times by
half (measured).
"""

SMALLEST_BATCH, LARGEST_BATCH = 64, 1024
"""Bounds of the batch size of statistics."""


def statistics_batch_size(input_shape: tuple[int, ...], count: int) -> int:
    """Batch size of every statistics and evaluation pass: by the input's shape and the data's size, nothing else.

    About `PIXELS_PER_BATCH` pixels (a vector is one pixel), between 64 and 1024, then evened out over the batches, and
    such that no last batch holds a single example, of which BatchNorm has no variance. It is the same on every device:
    the inputs of a deeper BatchNorm layer depend on the batch that the ones before normalised.

    >>> statistics_batch_size((3, 32, 32), 50_000), statistics_batch_size((784,), 1437)
    (128, 719)
    """
    pixels = input_shape[-1] * input_shape[-2] if len(input_shape) > 1 else 1
    size = min(max(PIXELS_PER_BATCH // pixels, SMALLEST_BATCH), LARGEST_BATCH)
    size = -(-count // -(-count // size)) if count else 1
    while size > 2 and count % size == 1:
        size -= 1
    return size


def batch_norms(network: nn.Module) -> list[_NormBase]:
    """BatchNorm and InstanceNorm layers that keep running statistics, in the order of the network's modules."""
    kinds = (_BatchNorm, _InstanceNorm)
    return [m for m in network.modules() if isinstance(m, kinds) and m.running_mean is not None]


def statistics_names(network: nn.Module) -> set[str]:
    """Names of the buffers that re-estimation sets."""
    layers = {id(layer) for layer in batch_norms(network)}
    prefixes = [name for name, module in network.named_modules(remove_duplicate=False) if id(module) in layers]
    return {f"{prefix}.{name}".lstrip(".") for prefix in prefixes for name in ("running_mean", "running_var")}


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether any layer of the network keeps running statistics of its inputs."""
    return bool(batch_norms(network))


def float64(tensor: Tensor) -> Tensor:
    """`tensor` in float64, on the CPU where its device has none (mps)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a growing sample, pooled batch by batch.

    Chan, Golub and LeVeque 1979, eq. 2.1: exact up to float64 rounding, whatever the sizes of the batches.
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    m2: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))

    def add(self, count: int, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Add a batch."""
        mean, m2 = float64(mean), float64(unbiased_variance) * (count - 1)
        if self.count == 0:
            self.count, self.mean, self.m2 = count, mean, m2
            return
        total = self.count + count
        delta = mean - self.mean
        self.m2 = self.m2 + m2 + delta.square() * (self.count * (count / total))
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def merge(self, other: "Moments") -> None:
        """Add another sample's moments."""
        if other.count:
            self.add(other.count, other.mean, other.unbiased_variance())

    def unbiased_variance(self) -> Tensor:
        """Variance with divisor count - 1."""
        return self.m2 / max(self.count - 1, 1)

    def on_cpu(self) -> "Moments":
        """Copy for other ranks, each of which has a GPU of its own: a tensor arrives on the device that it left."""
        return type(self)(self.count, self.mean.cpu(), self.m2.cpu())


class _Means(Moments):
    """Mean of the means and mean of the variances of a growing number of examples."""

    def add(self, count: int, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Add `count` examples with these means."""
        self.count += count
        share = count / self.count
        self.mean = self.mean + (float64(mean) - self.mean) * share
        self.m2 = self.m2 + (float64(unbiased_variance) - self.m2) * share

    def unbiased_variance(self) -> Tensor:
        """Mean of the variances."""
        return self.m2


class _Calls:
    """Moments of what a layer sees, apart for its first call in a forward pass, its second, and so on."""

    def __init__(self, layer: _NormBase) -> None:
        self.kind = _Means if isinstance(layer, _InstanceNorm) else Moments
        self.moments: list[Moments] = []
        self.number = 0

    def observe(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Forward hook: with momentum 1 the layer's buffers hold this very batch's mean and unbiased variance."""
        layer, inputs = cast(_NormBase, module), cast(Tensor, arguments[0])
        assert layer.running_mean is not None
        assert layer.running_var is not None
        if self.number == len(self.moments):
            self.moments.append(self.kind())
        count = inputs.shape[0] if self.kind is _Means else inputs.numel() // inputs.shape[1]
        self.moments[self.number].add(count, layer.running_mean, layer.running_var)
        self.number += 1


def _mean(values: list[Tensor]) -> Tensor:
    """Mean of tensors; of a single one itself, bit for bit."""
    first, *others = values
    return sum(others, start=first) / len(values)


@contextmanager
def _observing(network: nn.Module, layers: list[_NormBase]) -> Iterator[list[_Calls]]:
    """Context in which only `layers` are in train mode and every call adds to their moments; restored afterwards."""
    kept = [
        (layer, layer.momentum, None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone())
        for layer in layers
    ]
    calls = [_Calls(layer) for layer in layers]
    hooks = [layer.register_forward_hook(each.observe) for layer, each in zip(layers, calls, strict=True)]
    try:
        with modes_restored(network):
            network.eval()  # dropout off
            for layer in layers:
                layer.train()
                layer.reset_running_stats()  # momentum 1 computes 0 * old + new: an infinite old value would stay
                layer.momentum = 1.0
            yield calls
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum, tracked in kept:
            layer.momentum = momentum
            if tracked is not None:
                cast(Tensor, layer.num_batches_tracked).copy_(tracked)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Context in which BatchNorm takes the statistics of the batch and keeps its own, in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    layers = [(layer, layer.running_mean, layer.running_var) for layer in norms]
    try:
        for layer, _, _ in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, mean, variance in layers:
            layer.running_mean, layer.running_var = mean, variance


def recalibrate_from_(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    autocast: Any,
    progress: Progress = SILENT,
    shared: bool = False,
) -> None:
    """Set the network's statistics to those over `batches`, in place.

    autocast: context of each forward pass (reusable).
    shared: each rank comes with batches of its own, and the statistics are those of all.

    Raises StarcliError for a batch of a single example, Interrupted where `progress` asks to stop.
    """
    layers = batch_norms(network)
    if not layers:
        return
    with _observing(network, layers) as calls, torch.inference_mode(), autocast:
        for inputs, _ in batches:
            progress.stop_if_asked()
            if inputs.shape[0] == 1:
                raise StarcliError("statistics need batches of at least 2 examples, found a batch of 1")
            for each in calls:
                each.number = 0
            network(inputs)
    found = [each.moments for each in calls]
    if shared and distributed.size() > 1:
        found = _merged(distributed.all_gather([[each.on_cpu() for each in moments] for moments in found]))
    for layer, moments in zip(layers, found, strict=True):
        if not moments:  # a layer that the forward pass never met keeps the reset statistics
            continue
        cast(Tensor, layer.running_mean).copy_(_mean([each.mean for each in moments]))
        cast(Tensor, layer.running_var).copy_(_mean([each.unbiased_variance() for each in moments]))


def _merged(ranks: list[list[list[Moments]]]) -> list[list[Moments]]:
    """The moments of each layer and call over all ranks, of which some may have seen fewer calls."""
    merged = []
    for layer in zip(*ranks, strict=True):
        calls = [[each for each in call if each is not None] for call in zip_longest(*layer)]
        for first, *others in calls:
            for other in others:
                first.merge(other)
        merged.append([first for first, *_ in calls])
    return merged
