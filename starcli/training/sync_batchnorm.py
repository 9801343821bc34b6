"""BatchNorm over whole batches where ranks have a piece each: with it, R ranks train the model that one process does.

Each layer takes mean and variance over the pieces of all ranks, sum_r sum x / N, then sum_r sum (x - mean)^2 / N: two
all-reduces, and one in the backward pass, since each rank's loss depends on the others' inputs through them. Equal to
one process but for rounding; augmentation and dropout are drawn for each piece. `torch.nn.SyncBatchNorm` does the same
on GPUs alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from starcli.errors import StarcliError, few
from starcli.runtime import distributed
from starcli.runtime.progress import Progress


class BatchNormOverRanks:
    """Context of a training among ranks, in which BatchNorm layers take statistics over all of them, if `sync`.

    All ranks have to make the same passes, forward and backward. `counted` is whether this rank's piece is part of the
    batch: one that is left without any computes another's for nothing. With a single process nothing changes.
    """

    def __init__(self, network: nn.Module, progress: Progress, *, sync: bool) -> None:
        """StarcliError where `network` has no BatchNorm to `sync`, or one that computes in its own way.

        Without `sync` a note says what ranks do to BatchNorm.
        """
        self.layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        self.sync, self.counted = sync and distributed.size() > 1, True
        if sync and not self.layers:
            raise StarcliError("--sync-batchnorm: the network has no BatchNorm")
        own = [type(layer).__name__ for layer in self.layers if type(layer).forward is not _BatchNorm.forward]
        if sync and own:
            raise StarcliError(f"--sync-batchnorm: {few(own, 3)} computes BatchNorm in its own way")
        if self.layers and not sync and distributed.size() > 1:
            progress.note(
                f"BatchNorm takes its statistics from each rank's own piece of a batch, so {distributed.size()} ranks "
                "train another model than one; --sync-batchnorm takes them from whole batches"
            )

    def __enter__(self) -> None:
        """Take over the layers."""
        for layer in self.layers if self.sync else ():
            layer.forward = partial(self._forward, layer)  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        """Leave the layers as they were."""
        for layer in self.layers:
            layer.__dict__.pop("forward", None)

    def _forward(self, layer: _BatchNorm, inputs: Tensor) -> Tensor:
        """What the layer computes; in train mode over the pieces of all ranks."""
        if not layer.training:
            return _BatchNorm.forward(layer, inputs)
        layer._check_input_dim(inputs)  # type: ignore[no-untyped-call]
        outputs, mean, variance, count = _Normalise.apply(inputs, layer.weight, layer.bias, layer.eps, self.counted)
        if layer.track_running_stats and layer.running_mean is not None and layer.running_var is not None:
            share = _momentum(layer)
            layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
            unbiased = variance * (count / (count - 1))
            layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), share)
        return outputs  # type: ignore[no-any-return]


def _momentum(layer: _BatchNorm) -> float:
    """Share of a batch in the running statistics, and one batch more; a momentum of None is the mean over batches."""
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
    if layer.momentum is None:
        return 1.0 / float(layer.num_batches_tracked or 1)
    return float(layer.momentum)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with mean and variance over all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, counted: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Outputs in the type of x (B, C, ...); mean (C,), variance (C,) and the number of values a channel."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        wide = x if x.dtype == torch.float64 else x.float()
        own = torch.full((1,), float(x.numel() // x.shape[1]), dtype=wide.dtype, device=x.device)
        total = _summed([wide.sum(axes), own], counted)
        mean, count = total[:-1] / total[-1], total[-1]
        centred = wide - mean.view(shape)
        variance = _summed([centred.square().sum(axes)], counted) / count
        scale = torch.rsqrt(variance + eps)
        normal = centred.mul_(scale.view(shape))
        outputs = normal if weight is None else normal * weight.view(shape)
        outputs = outputs if bias is None else outputs + bias.view(shape)
        ctx.save_for_backward(normal, weight, scale, count)
        ctx.axes, ctx.shape, ctx.counted, ctx.dtype = axes, shape, counted, x.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return outputs.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the whole batch's loss by this rank's x; by weight and bias this rank's part of it."""
        normal, weight, scale, count = ctx.saved_tensors
        gradient = gradients[0].to(normal.dtype)
        by_bias, by_weight = gradient.sum(ctx.axes), (gradient * normal).sum(ctx.axes)
        sums = _summed([by_bias, by_weight], ctx.counted) / count
        along, across = (part.view(ctx.shape) for part in sums.chunk(2))
        factor = scale if weight is None else scale * weight
        # the others' losses do not depend on a piece that does not count
        by_x = (gradient - along - normal * across) * (factor.view(ctx.shape) * ctx.counted)
        learnt = (None, None) if weight is None else (by_weight.to(weight.dtype), by_bias.to(weight.dtype))
        return by_x.to(ctx.dtype), *learnt, None, None


def _summed(parts: Sequence[Tensor], counted: bool) -> Tensor:
    """Sum over the ranks of `parts`, laid end to end; nothing of a rank that does not count."""
    vector = torch.cat([part.reshape(-1) for part in parts])
    if not counted:
        vector = torch.zeros_like(vector)
    if vector.device.type in ("cpu", "cuda"):
        return distributed.sum_(vector)
    return distributed.sum_(vector.cpu()).to(vector.device)  # gloo and nccl know no other
