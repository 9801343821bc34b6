"""Forward pass of K networks at once: `torch.vmap`, or a batched product for each layer where all are linear.

vmap takes linear layers apart: it adds the biases, and lays out the gradients of the weights, in passes of their own. A
step of 100 MLPs takes it 1.2 times as long (measured).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from starcli.models.copies import copy_network


class _Products(torch.autograd.Function):
    """Batched linear layer: y_k = x_k W_k^T + b_k.

    Autograd's own gradients of the weights would not have the layout of the weights and be copied, and an activation
    that writes into its input would make copies if that were a view.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Outputs (K * B, ..., out) of x (K * B, ..., in), weight (K, out, in) and bias (K, out)."""
        rows = x.reshape(len(weight), -1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        found = x.new_empty(*x.shape[:-1], weight.shape[1])
        products = found.view(*rows.shape[:-1], -1)
        torch.bmm(rows, weight.mT, out=products)
        if bias is not None:
            products += bias[:, None]
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by x, the weights and the biases."""
        rows, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(*rows.shape[:-1], -1)
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight).view(*gradients[0].shape[:-1], -1) if of_x else None,
            torch.bmm(gradient.mT, rows) if of_weight else None,
            gradient.sum(1) if of_bias else None,
        )


class BatchedLinear(nn.Module):
    """K linear layers of K networks, for inputs (K * B, ..., in), those of a network together.

    weight: (K, out, in); bias: (K, out) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Keep `weight` and `bias` by reference: they may be leaves that require gradients."""
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """(K * B, ..., in) -> (K * B, ..., out)."""
        device = x.device.type
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        with torch.autocast(device, enabled=False):
            found: Tensor = _Products.apply(x, weight, bias)
        return found


def batched_forward(
    network: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], examples: Tensor
) -> Callable[[Tensor], Tensor]:
    """Function from inputs (K, B, ...) to outputs (K, B, ...) of K networks with `weights` and `buffers` (K, *shape).

    Batched products, where these are possible and give what vmap does on `examples`. Raises RuntimeError where vmap
    cannot map the network.
    """

    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
        return torch.func.functional_call(network, (weights, buffers), (inputs,))

    def mapped(inputs: Tensor) -> Tensor:
        found: Tensor = torch.vmap(one)(weights, buffers, inputs)
        return found

    whole = batched_network(network, weights)
    if whole is None:
        return mapped

    def together(inputs: Tensor) -> Tensor:
        found: Tensor = whole(inputs.flatten(0, 1))
        return found.view(*inputs.shape[:2], *found.shape[1:])

    with torch.no_grad(), torch.autocast(examples.device.type, enabled=False):
        expected = mapped(examples)
        try:
            found = together(examples)
        except Exception:  # it asks for the size of a batch, or of a layer: what it does by itself, vmap does as well
            return mapped
    # of TF32 the two ways keep 10 bits each
    tolerance = 1e-2 if examples.is_cuda and torch.backends.cuda.matmul.allow_tf32 else 1e-4
    same = torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))
    return together if same else mapped


def batched_network(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module | None:
    """Copy of `network` for examples (K * B, ...), those of each network together, which reads `weights` (K, *shape).

    None where something but linear layers holds parameters or buffers. It computes what K networks do if its other
    operators treat each example by itself: that is for the caller to compare.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    layers = [module for module in network.modules() if type(module) is nn.Linear]
    # not `parameters()`: a weight may be computed from them in a hook
    held: set[Tensor] = {each for layer in layers for each in (layer.weight, layer.bias) if each is not None}
    if held != set(names) or not set(names.values()) <= set(weights) or any(True for _ in network.buffers()):
        return None

    def stacked(parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else weights[names[parameter]]

    replaced = {id(layer): BatchedLinear(weights[names[layer.weight]], stacked(layer.bias)) for layer in layers}
    return copy_network(network, replaced)
