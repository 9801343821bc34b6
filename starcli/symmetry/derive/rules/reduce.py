"""Operators that sum, pool or select along axes."""

import math
from dataclasses import replace

import numpy as np

from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.call import Call, RuleResult, Unknown, fixed, rule
from starcli.symmetry.derive.chosen import named_along, told_apart
from starcli.symmetry.derive.rules.shape import reshaped
from starcli.symmetry.derive.values import Value


def _axes(call: Call, rank: int) -> list[int]:
    """The axes named by `dim`, all of them by default."""
    dim = call.arguments.get("dim")
    if dim is None or dim == []:
        return list(range(rank))
    return [axis % rank for axis in ([dim] if isinstance(dim, int) else dim)]


@rule(
    *("mean", "sum", "amax", "amin", "prod", "std", "var", "var_mean", "std_mean", "nansum", "norm"),
    *("linalg_vector_norm", "logsumexp", "any", "all", "max", "min", "aminmax", "count_nonzero"),
    *("sort", "topk", "kthvalue", "median", "nanmedian", "mode"),
)
def reduction(call: Call) -> RuleResult:
    """Symmetric functions of what they reduce over: one value, or several in the order of their size.

    Some also give positions, which tell what they reduce over apart where something follows from them.
    """
    value = call.value("self")
    if "other" in call.arguments:
        return call.merge(call.values())
    axes = _axes(call, len(value.shape))
    names = None
    if call.many and call.name not in ("var_mean", "std_mean", "aminmax") and 1 in call.used:
        names = named_along(call, value, axes, "positions are told")
        if names is None:
            told_apart(call, value, axes, "positions are told")
    left = reduce(call.atoms, value, axes)
    if len(call.shape) < len(value.shape):
        left = left.dropped(axes)
    found = [call.positions(left, _grown(left, shape), shape) for shape in call.shapes]
    return call.result([found[0], replace(found[1], names=names)] if names is not None else found)


def _grown(left: Value, shape: tuple[int, ...]) -> list[int]:
    """Axes that have several values in the order of their size."""
    return [axis for axis, (n, m) in enumerate(zip(left.shape, shape, strict=True)) if n < m]


@rule("linalg_norm", "linalg_matrix_norm")
def matrix_norm(call: Call) -> RuleResult:
    """A norm of matrices: rows and columns may stand in any order, but not the columns of each row in another one."""
    axes = _axes(call, len(call.value("self").shape))
    if any(sum(factor.shape[axis] > 1 for axis in axes) > 1 for factor in call.value("self").factors):
        raise Unknown
    return reduction(call)


@rule("quantile", "nanquantile")
def quantile(call: Call) -> RuleResult:
    """A quantile along an axis, or several of them along a new one before all others."""
    value = call.value("self")
    axes = _axes(call, len(value.shape))
    left = reduce(call.atoms, value, axes)
    left = left if call.arguments.get("keepdim", False) else left.dropped(axes)
    left = left.padded(len(call.shape))
    return call.positions(left, _grown(left, call.shape))


@rule("cosine_similarity", "pairwise_distance")
def similarity(call: Call) -> RuleResult:
    """Two tensors compared along an axis: a symmetric function of the pairs."""
    pair = [call.value(name) for name in ("x1", "x2")]
    shape = np.broadcast_shapes(*(value.shape for value in pair))
    axis = call.arguments.get("dim", len(shape) - 1) % len(shape)
    left = reduce(call.atoms, call.merge(pair, shape), [axis])
    return left if len(call.shape) == len(shape) else left.dropped([axis])


@rule("argmax", "argmin", "argsort", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def ordering(call: Call) -> RuleResult:
    """Operators for which the order along an axis matters, so that its positions come out fixed."""
    value = call.value("self")
    axes = _axes(call, len(value.shape))
    names = value.names
    if names is not None and names.meaning == "counts" and call.name == "cumsum":
        return replace(fixed(call.atoms, call.shape, axes, call.where), names=replace(names, meaning="ends"))
    call.pin_names(value)
    names = named_along(call, value, axes, "order matters") if call.name.startswith("arg") else None
    left = reduce(call.atoms, value, axes, whole=False) if names else told_apart(call, value, axes, "order matters")
    outputs = []
    for shape in call.shapes:
        gone = len(shape) < len(value.shape)
        result = left.dropped(axes) if gone else call.positions(left, axes, shape)
        outputs.append(replace(result, names=names))
    return call.result(outputs)


_TRANSFORMS = [f"fft_{inverse}{kind}fft" for inverse in ("", "i") for kind in ("", "r", "h")]


@rule(*(f"{name}{over}" for name in _TRANSFORMS for over in ("", "2", "n") if over == "" or "hfft" not in name))
def transform(call: Call) -> RuleResult:
    """Fourier transforms: positions along their axes are mixed."""
    value = call.value("self")
    return call.positions(value, _axes(call, len(value.shape)))


@rule("diff", "fft_fftshift", "fft_ifftshift", "trapezoid", "cumulative_trapezoid")
def neighbours(call: Call) -> RuleResult:
    """Functions of neighbours along an axis."""
    value = call.value("y" if "y" in call.arguments else "self")
    if any(call.optional(name) is not None for name in ("prepend", "append", "x")):
        raise Unknown
    axes = _axes(call, len(value.shape))
    if len(call.shape) == len(value.shape):
        return call.positions(value, axes)
    return call.positions(value, axes, [1 if i in axes else n for i, n in enumerate(value.shape)]).dropped(axes)


@rule("unfold")
def windows(call: Call) -> RuleResult:
    """Windows of an axis: (..., n, ...) -> (..., places, ..., size)."""
    value, rank = call.value("self"), len(call.shape)
    axis = call["dimension"] % (rank - 1)
    return call.positions(value.aligned(range(rank - 1), rank), [axis, rank - 1])


@rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    *("upsample_linear1d", "upsample_bilinear2d", "_upsample_bilinear2d_aa"),
    *("upsample_bicubic2d", "_upsample_bicubic2d_aa", "upsample_trilinear3d"),
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


@rule("max_unpool2d", "max_unpool3d")
def unpooled(call: Call) -> RuleResult:
    """Maxima put back at the positions that pooling found: (..., C, S...) and as many positions -> (..., C, S...)."""
    x, places = call.value("self"), call.value("indices")
    axes = range(len(call.shape) - int(call.name[-2]), len(call.shape))
    return call.merge([call.positions(each, axes) for each in (x, places)])


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def sampled_at_points(call: Call) -> RuleResult:
    """An image read at points: (N, C, S...) at (N, S..., coordinates) -> (N, C, S...)."""
    x, grid, rank = call.value("input"), call.value("grid"), len(call.shape)
    call.pin(grid, [rank - 1], "coordinates")
    kept = (factor for factor in grid.factors if factor.shape[-1] == 1)
    points = Value((*grid.shape[:-1], 1), tuple(kept)).dropped([rank - 1])
    return call.merge([call.positions(x, range(2, rank)), points.aligned([0, *range(2, rank)], rank)])


@rule("histc", "bincount")
def counted(call: Call) -> RuleResult:
    """How often values occur: classes are told apart, but where they name units."""
    value = call.value("self")
    top = call.arguments.get("max", call.shape[0] - 1)
    every = call.optional("weights") is None and call.arguments.get("min", 0) == 0 and top == call.shape[0] - 1
    units = value.named(call.shape[0]) if every else None
    if units is not None and value.names is not None:
        return Value(call.shape, (units,), replace(value.names, meaning="counts"))
    call.pin_names(value)
    call.pin(value)
    return fixed(call.atoms, call.shape, [0], call.where)


@rule("affine_grid_generator")
def grid_of(call: Call) -> RuleResult:
    """Points of an affine map's grid: its coefficients, (N, 2, 3) or (N, 3, 4), are told apart."""
    call.pin(call.value("theta"), [1, 2])
    return fixed(call.atoms, call.shape, range(len(call.shape)), call.where)


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
