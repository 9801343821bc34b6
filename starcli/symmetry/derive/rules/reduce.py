"""Operators that sum, pool or select along axes."""

import math

from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.call import Call, RuleResult, rule
from starcli.symmetry.derive.rules.shape import reshaped
from starcli.symmetry.derive.values import Value


def _axes(call: Call, rank: int) -> list[int]:
    """The axes named by `dim`, all of them by default."""
    dim = call.arguments.get("dim")
    if dim is None or dim == []:
        return list(range(rank))
    return [axis % rank for axis in ([dim] if isinstance(dim, int) else dim)]


@rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "prod",
    "std",
    "var",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "any",
    "all",
    "max",
    "min",
    "var_mean",
    "std_mean",
    "nansum",
)
def reduction(call: Call) -> RuleResult:
    """Symmetric functions of what they reduce over.

    `max` and `min` also give positions, which nothing may follow.
    """
    value = call.value("self")
    if "other" in call.arguments:
        return call.merge(call.values())
    axes = _axes(call, len(value.shape))
    left = reduce(call.atoms, value, axes)
    if not call.arguments.get("keepdim", False):
        left = left.dropped(axes)
    if len(call.shapes) == 1:
        return left
    if "mean" in call.name:
        return left, left
    call.pin(value, axes, "positions are told")
    return left, left


@rule("argmax", "argmin", "topk", "sort", "argsort", "cumsum", "cumprod", "kthvalue", "median", "logcumsumexp")
def ordering(call: Call) -> RuleResult:
    """Operators for which the order along an axis matters, so that its positions come out fixed."""
    value = call.value("self")
    axes = _axes(call, len(value.shape))
    call.pin(value, axes, "order matters")
    left = [factor for factor in value.factors if not any(factor.shape[axis] > 1 for axis in axes)]
    outputs = []
    for shape in call.shapes:
        gone = len(shape) < len(value.shape)
        kept = Value.of([1 if i in axes else n for i, n in enumerate(value.shape)], left)
        result = kept.dropped(axes) if gone else call.positions(kept, axes, shape)
        outputs.append(result)
    return call.result(outputs)


@rule(
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "max_pool2d_with_indices",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_bilinear2d",
    "_upsample_bilinear2d_aa",
    "upsample_bicubic2d",
    "_upsample_bicubic2d_aa",
    "upsample_linear1d",
    "_upsample_nearest_exact2d",
    "_adaptive_avg_pool2d",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad1d",
    "replication_pad2d",
)
def pooling(call: Call) -> RuleResult:
    """Pooling and resampling: positions of space are mixed in each channel separately.

    Pooling to one position is a sum or maximum over all.
    """
    value = call.value("input" if "input" in call.arguments else "self")
    name = call.name
    rank = next(int(c) for c in reversed(name) if c.isdigit())
    axes = range(len(value.shape) - rank, len(value.shape))
    if all(call.shape[axis] == 1 for axis in axes) and "adaptive" in name:
        left = reduce(call.atoms, value, axes)
        return call.result([left] * len(call.shapes))
    return call.result([call.positions(value, axes, shape) for shape in call.shapes])


@rule("im2col")
def unfold(call: Call) -> RuleResult:
    """Windows of an image: (B, C, H, W) -> (B, C k, places), every channel with the k positions of a window."""
    x = call.value("self")
    batch, channels, *_ = x.shape
    window = math.prod(call["kernel_size"])
    spread = (batch, channels, window, call.shape[-1])
    return reshaped(call.positions(x, (2, 3), spread), call.shape)


@rule("col2im")
def fold_windows(call: Call) -> RuleResult:
    """An image from windows: (B, C k, places) -> (B, C, H, W), every channel summed over windows."""
    x = call.value("self")
    split = reshaped(x, (*call.shape[:2], math.prod(call["kernel_size"]), x.shape[-1]))
    return call.positions(split, (2, 3))
