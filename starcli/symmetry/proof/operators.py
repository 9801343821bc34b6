"""Replacements of torch's operators in proofs: with all derivatives, in float64, or faster."""

import torch
from torch import Tensor
from torch.nn.functional import unfold

MOST_WINDOWS = 512
"""Most numbers that a group of channels sees, over all positions, for which all groups go through one product."""


def differentiable_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, by operators that have a gradient for the statistics too."""
    if training or running_mean is None or running_var is None:
        return torch.nn.functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    shape = [1, -1] + [1] * (input.dim() - 2)
    return input * scale.reshape(shape) + shift.reshape(shape)


def grouped_mm(
    input: Tensor,
    weight: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Rows (T, k) by the matrix (E, k, n) of the expert that they belong to, those of expert e up to row offs[e].

    torch's own takes no float64.

    >>> x, weight, ends = torch.randn(5, 4), torch.randn(2, 4, 3), torch.tensor([2, 5])
    >>> torch.equal(grouped_mm(x, weight, offs=ends), torch.cat([x[:2] @ weight[0], x[2:] @ weight[1]]))
    True
    """
    if offs is None or input.dim() != 2 or weight.dim() != 3:
        return torch.nn.functional.grouped_mm(input, weight, offs=offs, bias=bias, out_dtype=out_dtype)
    ends = offs.tolist()
    rows = [input[start:end] @ each for start, end, each in zip([0, *ends], ends, weight, strict=False)]
    made = torch.cat([*rows, input.new_zeros(len(input) - ends[-1], weight.shape[2])])
    return made if bias is None else made + bias


def grouped_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution, that of many small groups of channels as one batched product.

    In float64 torch takes one group after the other, and a depthwise convolution has hundreds.

    >>> x, weight = torch.randn(2, 6, 5, 5).double(), torch.randn(6, 2, 3, 3).double()
    >>> torch.allclose(grouped_conv2d(x, weight, None, 2, 1, 1, 3), torch.conv2d(x, weight, None, 2, 1, 1, 3))
    True
    """
    if groups > 1 and input.dim() == 4 and not isinstance(padding, str):
        pairs = [(each, each) if isinstance(each, int) else tuple(each) for each in (dilation, padding, stride)]
        kernel = weight.shape[2:]
        height, width = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(input.shape[2:], kernel, *pairs, strict=True)
        )
        if weight[0].numel() * height * width <= MOST_WINDOWS:
            windows = unfold(input, tuple(kernel), *pairs)
            windows = windows.reshape(len(input), groups, -1, height * width)
            filters = weight.reshape(groups, len(weight) // groups, -1)
            made = filters @ windows  # (examples, groups, channels, positions)
            made = made.reshape(len(input), len(weight), height, width)
            return made if bias is None else made + bias.reshape(-1, 1, 1)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
