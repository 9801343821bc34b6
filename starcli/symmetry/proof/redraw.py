"""Generic weights, at which a proof evaluates a network, so that nothing is equal, zero or symmetric by chance.

At initialisation biases, gates, layer scale and BatchNorm tensors are constant and a ViT's head is zero, so that wrong
symmetries pass there. An identity between analytic functions that holds at generic weights holds everywhere.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from starcli.symmetry.archspec.stacked import is_stack

GAIN = math.sqrt(2.0)
"""Factor that makes up for a ReLU, which halves the variance: with it a plain deep network keeps its scale."""

LOUD = 4.0
"""Root mean square of a layer's output above which it is scaled down; generic weights give about 1 for inputs of 1."""


def redrawn(
    tensors: Mapping[str, Tensor], generator: torch.Generator, size: float = 1.0, *, normalised: bool = False
) -> dict[str, Tensor]:
    """Generic float32 values for every floating (or complex) tensor; integers and booleans stay as they are.

    Weights are normal with variance 2 / fan-in; vectors that scale lie in [0.5, 1.5], as do variances and class tokens;
    biases, means and positions are normal with deviation 0.3. What decides the size of values within a network is
    `size` times as large: weights, or where these are `normalised` vectors that scale. Tensors that share memory share
    values.
    """
    made: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
    result = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if key not in made or tensor.numel() == 0:
            made[key] = _draw(name, tensor, generator)
            if size != 1 and tensor.is_floating_point() and _decides_size(name, tensor, normalised):
                made[key] *= size
        result[name] = made[key]
    return result


def _draw(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Generic values for one tensor, by its type, shape and name."""
    shape = tensor.shape
    if tensor.is_complex():
        return torch.randn(shape, generator=generator, dtype=torch.complex64)
    if not tensor.is_floating_point():
        return tensor.clone()
    last = name.rsplit(".", 1)[-1]
    vector = _is_vector(tensor)
    if vector and last.endswith("min"):  # the lower bound of a clamp, which would let nothing through above the upper
        return -0.5 - torch.rand(shape, generator=generator)
    if is_scale(name, tensor):
        return 0.5 + torch.rand(shape, generator=generator)
    # float32 values, though they are used in float64 too: 24 random bits are generic enough, and half the memory.
    normal = torch.randn(shape, generator=generator)
    if not _is_weight(tensor):
        return normal.mul_(0.3)
    return normal.mul_(GAIN / math.sqrt(tensor.numel() / shape[0]))


def is_scale(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a vector that multiplies, as its name has it, and is not added; in each module of a list.

    >>> is_scale("norm1.weight", torch.ones(3)), is_scale("norm1.bias", torch.zeros(3))
    (True, False)
    """
    last = name.rsplit(".", 1)[-1]
    return _is_vector(tensor[0] if is_stack(name) else tensor) and not any(
        word in last for word in ("bias", "mean", "beta")
    )


def _is_vector(tensor: Tensor) -> bool:
    return tensor.dim() < 2 or tensor.numel() == max(tensor.shape)


def _is_weight(tensor: Tensor) -> bool:
    """Whether a tensor is neither a vector nor added once, as positions (1, n, width) are."""
    return not _is_vector(tensor) and not (tensor.dim() == 3 and tensor.shape[0] == 1)


def _decides_size(name: str, tensor: Tensor, normalised: bool) -> bool:
    return is_scale(name, tensor) if normalised else _is_weight(tensor)


def calibrate_(
    network: nn.Module,
    run: Callable[[Sequence[Tensor]], object],
    inputs: Sequence[Sequence[Tensor]],
    seed: int,
    size: float = 1.0,
) -> None:
    """Set running statistics near those of what each layer sees, one layer after the other, in one forward pass.

    In networks without any normalisation, shrink the weights of layers that give out large values (see `_Damper`);
    scale weights that are normalised themselves (see `_Volume`). Deep networks then keep their scale, and no tensor
    drowns in the rounding of another; a random part keeps the statistics generic. `inputs` are joined along their first
    axis, since statistics of one alone let others explode. `size` is that of `redrawn`. What a layer gives within
    `torch.vmap`, or `jvp`, cannot be looked at: it stays as it is drawn.
    """
    try:
        _calibrate_(network, run, [torch.cat(each) for each in zip(*inputs, strict=True)], seed, size)
    except Exception:
        # Whatever a network says that takes no larger batch; one that takes no input at all says so again.
        _calibrate_(network, run, inputs[0], seed, size)


def _calibrate_(
    network: nn.Module, run: Callable[[Sequence[Tensor]], object], inputs: Sequence[Tensor], seed: int, size: float
) -> None:
    """Set running statistics in one forward pass on `inputs`."""
    generator = torch.Generator().manual_seed(seed)
    handles = [
        module.register_forward_pre_hook(_Calibration(generator))
        for module in network.modules()
        if isinstance(getattr(module, "running_mean", None), Tensor)
        and isinstance(getattr(module, "running_var", None), Tensor)
    ]
    handles += [
        layer.register_forward_hook(_Volume(scale, power, size), with_kwargs=True)
        for layer, scale, power in _scales_of_weights(network)
    ]
    if not has_norms(network):
        layers = [module for module in network.modules() if isinstance(module, WEIGHTED_LAYERS)]
        handles += [layer.register_forward_hook(_Damper(generator, size), with_kwargs=True) for layer in layers]
    try:
        if handles:
            run(inputs)
    finally:
        for handle in handles:
            handle.remove()


def has_norms(network: nn.Module) -> bool:
    """Whether something in the network normalises values, so that weights of any size leave them as large."""
    kinds = [type(module) for module in network.modules()]
    return any("Norm" in kind.__name__ and kind.__module__ != _SpectralNorm.__module__ for kind in kinds)


class _Calibration:
    """Sets the running statistics of one module before its first call."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.done = False

    def __call__(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if self.done or not arguments or is_functorch_wrapped_tensor(arguments[0]):
            return
        self.done = True
        mean, var = module.running_mean, module.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(var, Tensor)
        x = arguments[0] if arguments[0].dim() > 1 else arguments[0][None]
        if x.shape[1] != mean.shape[0]:
            return
        variance, average = torch.var_mean(x, dim=[axis for axis in range(x.dim()) if axis != 1], correction=0)
        # No channel is blown up beyond its layer: another input may be far from its statistics.
        spread = variance.clamp_min(float(variance.mean() + average.var(correction=0)) + 1e-6)
        scale = 0.7 + 0.6 * torch.rand(var.shape, generator=self.generator)
        noise = 0.3 * torch.randn(mean.shape, generator=self.generator)
        mean.copy_(average + noise * spread.sqrt())
        var.copy_(spread * scale)


class _Damper:
    """Scales the weight of a layer down at its first call, where its output is LOUD, to an output of size 1.

    At other sizes than 1 its weight is scaled to an output of that size in any case.

    Nothing else holds back a residual stream without normalisation (ResMLP): it grows by a factor at each block, and a
    bias at its end has no effect that one could see. A bias is set such that units are on for some inputs and off for
    others: behind many narrow layers of ReLU nothing of the input would be left.
    """

    def __init__(self, generator: torch.Generator, size: float) -> None:
        self.generator, self.size = generator, size
        self.done = False

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> object:
        weight, bias = module.weight, module.bias
        if self.done or not isinstance(weight, nn.Parameter) or not isinstance(output, Tensor):
            return output
        if not output.is_floating_point() or is_functorch_wrapped_tensor(output):
            return output
        self.done = True
        size = float(output.square().mean().sqrt())
        if not 0 < size < math.inf:
            return output
        with torch.no_grad():
            if size > LOUD or self.size != 1:
                weight.mul_(self.size / size)
            if isinstance(bias, nn.Parameter):
                now: Tensor = module.forward(*args, **kwargs)
                deviation, mean = torch.std_mean(now, dim=_all_but_channels(module, now), correction=0)
                bias.add_(0.3 * deviation * torch.randn(bias.shape, generator=self.generator) - mean)
        return module.forward(*args, **kwargs)


def _all_but_channels(layer: nn.Module, output: Tensor) -> list[int]:
    """The axes of a layer's output but that of its units."""
    channels = output.dim() - 1 if isinstance(layer, nn.Linear) else 1
    return [axis for axis in range(output.dim()) if axis != channels]


WEIGHTED_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose outputs tell how large their weights are."""


def _scales_of_weights(network: nn.Module) -> Iterator[tuple[nn.Module, Tensor, int]]:
    """Layers with a weight under weight or spectral normalisation, and a tensor whose power that weight goes with."""
    for layer in network.modules():
        if not isinstance(layer, WEIGHTED_LAYERS):
            continue
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                yield layer, getattr(layer, f"{hook.name}_u"), -1
            elif isinstance(hook, WeightNorm):
                yield layer, getattr(layer, f"{hook.name}_g"), 1
        made: Any
        for made in getattr(layer, "parametrizations", nn.ModuleDict()).values():
            for each in made:
                if isinstance(each, _SpectralNorm) and hasattr(each, "_u"):
                    yield layer, each._u, -1
                elif isinstance(each, _WeightNorm):
                    yield layer, made.original0, 1


class _Volume:
    """Scales a normalised weight at the first call of its layer, such that the layer's output varies by about its size.

    At generic u and v, W / (u^T W v) is so small, and g v / |v| with one g for a whole weight too, that nothing of the
    input would be left after some layers.
    """

    def __init__(self, scale: Tensor, power: int, size: float) -> None:
        """`scale`: a tensor that the weight goes with the first (1) or the inverse (-1) power of."""
        self.scale, self.power, self.size = scale, power, size
        self.done = False

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> object:
        if self.done or not isinstance(output, Tensor) or is_functorch_wrapped_tensor(output):
            return output
        self.done = True
        size = float(output.var(dim=_all_but_channels(layer, output), correction=0).mean().sqrt())  # without the bias
        if not 0 < size < math.inf:
            return output
        with torch.no_grad():
            self.scale.mul_((self.size / size) ** self.power)
        return layer(*args, **kwargs)


def fresh_inputs(network: nn.Module, example: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Random inputs like `example`: floating tensors are normal; booleans, and masks of ones, stay as they are.

    Integers are drawn from those of the example, or, where it is zero throughout, from the vocabulary of the network's
    smallest embedding; floating tensors of zeros and ones from these, too. Square matrices of zeros and ones (which
    nodes of a graph are joined) keep these for nodes in another order. A vector of integers that rise from 0 (where
    bags begin, which graph a node is of) rises to the same last one.
    """
    vocabulary = min((m.num_embeddings for m in network.modules() if isinstance(m, nn.Embedding)), default=1)
    made = []
    for tensor in example:
        of_two = _is_of_zeros_and_ones(tensor)
        if tensor.is_floating_point() and not of_two:
            made.append(torch.randn(tensor.shape, generator=generator))
        elif tensor.dtype == torch.bool or tensor.numel() == 0:
            made.append(tensor)
        elif of_two and tensor.dim() > 1 and tensor.shape[-1] == tensor.shape[-2]:
            made.append(_of_nodes_in_another_order(tensor, generator))
        else:
            flat = tensor.flatten()
            if int(flat.min()) == int(flat.max()) == 0:
                flat = torch.arange(vocabulary, dtype=tensor.dtype)
            drawn = flat[torch.randint(flat.numel(), (tensor.numel(),), generator=generator)]
            if tensor.dim() == 1 and int(tensor[0]) == 0 < int(tensor[-1]) and bool((tensor[1:] >= tensor[:-1]).all()):
                drawn[0], drawn[-1] = 0, tensor[-1]
                drawn = drawn.sort().values
            made.append(drawn.reshape(tensor.shape))
    return tuple(made)


def _of_nodes_in_another_order(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Each matrix (..., n, n), with the same permutation, its own for each, of rows and of columns.

    Whether it is symmetric, and how many ones a row has, by which networks divide, stays.
    """
    order = torch.rand(tensor.shape[:-1], generator=generator).argsort(-1)
    rows = tensor.gather(-2, order.unsqueeze(-1).expand(tensor.shape))
    return rows.gather(-1, order.unsqueeze(-2).expand(tensor.shape))


def _is_of_zeros_and_ones(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and not tensor.eq(tensor.flatten()[0]).all() and bool((tensor.eq(0) | tensor.eq(1)).all())
