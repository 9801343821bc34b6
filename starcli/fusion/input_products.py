"""Products of what the layers of a network read on data: G = X^T X for each weight, as regression means need them."""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from starcli.alignment.layer_inputs import layer_inputs
from starcli.models.flat_network import FlatNetwork
from starcli.runtime.device import float64


@dataclass
class InputProducts:
    """G (groups, inputs, inputs) of one weight, float64; transposed: whether the weight is (inputs, outputs)."""

    products: Tensor
    transposed: bool


def input_products(flat: FlatNetwork, batches: Iterable[Tensor]) -> dict[str, InputProducts]:
    """Inner products X^T X of the inputs X of linear layers and of convolutions in 1D and 2D, by the weight's name.

    X has a row for each position: example, token, or place of an image, whose inputs are its patch under the kernel.
    Weights that are read otherwise are left out, and so are those that are multiplied from either side.

    >>> import torch
    >>> flat = FlatNetwork(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> found = input_products(flat, [torch.ones(5, 4)])
    >>> {name: each.products.shape for name, each in found.items()}
    {'0.weight': torch.Size([1, 4, 4]), '2.weight': torch.Size([1, 3, 3])}
    """
    shapes = {slot.name: slot.shape for slot in flat.layout}
    matrices = {name for name, shape in shapes.items() if len(shape) == 2}
    found: dict[str, InputProducts] = {}
    for inputs in batches:
        with ExitStack() as stack:
            for name, module in flat.network.named_modules():
                if isinstance(module, nn.Conv1d | nn.Conv2d) and f"{name}.weight" in shapes:
                    add = partial(_add_patches, found, f"{name}.weight")
                    stack.callback(module.register_forward_pre_hook(add).remove)
            read = layer_inputs(flat.network, inputs, matrices)
        often = Counter(each.weight for each in read.values())
        for name, each in read.items():
            if often[each.weight] == 1 and len(each.values) == shapes[name][each.axis]:
                _add(found, name, each.values[None], transposed=each.axis == 0)
    return found


def _add(found: dict[str, InputProducts], name: str, values: Tensor, *, transposed: bool = False) -> None:
    """Add the products of `values` (groups, inputs, positions)."""
    products = float64(values.float() @ values.float().mT).cpu()
    if name in found:
        found[name].products += products
    else:
        found[name] = InputProducts(products, transposed)


def _add_patches(found: dict[str, InputProducts], name: str, module: Any, arguments: Any) -> None:
    """Add what a convolution reads: of each place of its output the patch under the kernel, group by group."""
    values = arguments[0]
    if isinstance(module.padding, str) or values.dim() != len(module.kernel_size) + 2:
        return
    padding = module.padding
    if module.padding_mode != "zeros":
        values = pad(values, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = (0,) * len(padding)
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if values.dim() == 3:  # unfold is for images
        values, kernel, stride = values[:, :, None], (1, *kernel), (1, *stride)
        padding, dilation = (0, *padding), (1, *dilation)
    patches = unfold(values.float(), kernel, dilation, padding, stride)  # (batch, channels * kernel, places)
    places = patches.movedim(1, 0).flatten(1)  # (channels * kernel, batch * places)
    _add(found, name, places.reshape(module.groups, -1, places.shape[1]))
