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
from dataclasses import replace
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from starcli.errors import StarcliError
from starcli.evaluation.moments import MeansOfMoments, Moments, Observed, TogetherPooled
from starcli.models.modes import modes_restored, set_eval_
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress

PIXELS_PER_BATCH = 2**17
"""Input pixels in a batch: 128 images of 32 x 32.

On CPUs the activations of such a batch still fit the caches; four times as much is slower by a quarter, ten times by
half (measured).
"""

SMALLEST_BATCH, LARGEST_BATCH = 64, 1024
"""Bounds of the batch size of statistics."""


def pixels_of(input_shape: tuple[int, ...]) -> int:
    """Pixels of an input, by which batches are sized: a vector is one."""
    return input_shape[-1] * input_shape[-2] if len(input_shape) > 1 else 1


def statistics_batch_size(input_shape: tuple[int, ...], count: int) -> int:
    """Batch size of every statistics and evaluation pass: by the input's shape and the data's size, nothing else.

    About `PIXELS_PER_BATCH` pixels (a vector is one pixel), between 64 and 1024, then evened out over the batches, and
    such that no last batch holds a single example, of which BatchNorm has no variance. It is the same on every device:
    the inputs of a deeper BatchNorm layer depend on the batch that the ones before normalised.

    >>> statistics_batch_size((3, 32, 32), 50_000), statistics_batch_size((784,), 1437)
    (128, 719)
    """
    size = min(max(PIXELS_PER_BATCH // pixels_of(input_shape), SMALLEST_BATCH), LARGEST_BATCH)
    return evened_batch_size(size, count)


def evened_batch_size(largest: int, count: int) -> int:
    """Batch size of at most `largest`, evened out over `count` examples, such that no last batch holds a single one."""
    size = -(-count // -(-count // largest)) if count else 1
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


class _Calls:
    """What a layer sees in a forward pass, call by call."""

    def __init__(self, number: int, layer: _NormBase) -> None:
        self.number, self.averages = number, isinstance(layer, _InstanceNorm)
        self.seen: list[Observed] = []

    def keep(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Hook before a call: copies what an earlier one in this pass left, which this call overwrites."""
        if self.seen:
            last = self.seen[-1]
            self.seen[-1] = replace(last, mean=last.mean.clone(), unbiased_variance=last.unbiased_variance.clone())

    def observe(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Hook after a call: with momentum 1 the layer's buffers hold this very batch's mean and unbiased variance."""
        layer, inputs = cast(_NormBase, module), cast(Tensor, arguments[0])
        assert layer.running_mean is not None
        assert layer.running_var is not None
        count = inputs.shape[0] if self.averages else inputs.numel() // inputs.shape[1]
        self.seen.append(Observed((self.number, len(self.seen)), count, layer.running_mean, layer.running_var))


class _Layers:
    """Moments of what each layer sees, apart for its first call in a forward pass, its second, and so on."""

    def __init__(self, layers: list[_NormBase]) -> None:
        self.calls = [_Calls(number, layer) for number, layer in enumerate(layers)]
        self.pools = {averages: TogetherPooled(MeansOfMoments if averages else Moments) for averages in (False, True)}

    def pool(self) -> None:
        """Add what was seen in a forward pass."""
        for averages, pool in self.pools.items():
            pool.add([seen for each in self.calls if each.averages == averages for seen in each.seen])
        for each in self.calls:
            each.seen.clear()

    def moments(self) -> list[list[Moments]]:
        """Moments of each layer, call by call."""
        found = {key: moments for pool in self.pools.values() for key, moments in pool.moments().items()}
        return [[found[key] for key in sorted(found) if key[0] == each.number] for each in self.calls]


def _mean(values: list[Tensor]) -> Tensor:
    """Mean of tensors; of a single one itself, bit for bit."""
    first, *others = values
    return sum(others, start=first) / len(values)


@contextmanager
def _observing(network: nn.Module, layers: list[_NormBase]) -> Iterator[_Layers]:
    """Context in which only `layers` are in train mode and every call is seen; restored afterwards."""
    kept = [
        (layer, layer.momentum, None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone())
        for layer in layers
    ]
    found = _Layers(layers)
    hooks = [layer.register_forward_hook(each.observe) for layer, each in zip(layers, found.calls, strict=True)]
    hooks += [layer.register_forward_pre_hook(each.keep) for layer, each in zip(layers, found.calls, strict=True)]
    try:
        with modes_restored(network):
            set_eval_(network)  # dropout off
            for layer in layers:
                layer.train()
                layer.reset_running_stats()  # momentum 1 computes 0 * old + new: an infinite old value would stay
                layer.momentum = 1.0
            yield found
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
    with _observing(network, layers) as observed, torch.inference_mode(), autocast:
        for inputs, _ in batches:
            progress.stop_if_asked()
            if inputs.shape[0] == 1:
                raise StarcliError("statistics need batches of at least 2 examples, found a batch of 1")
            network(inputs)
            observed.pool()
        found = observed.moments()
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
