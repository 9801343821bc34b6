"""Inputs of the layers of a network, of products with weights and of convolutions, unit by unit.

These tensors move with the units of the network as its weights do: what a layer reads has on its axis of channels the
groups that the layer's weight has on its axis of inputs.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.models.logits import token_places
from starcli.models.modes import modes_restored, plain_attention, set_eval_
from starcli.runtime.dispatch_mode import DispatchMode
from starcli.symmetry.archspec.expression import Cases, Node, Product, Ref

_aten = torch.ops.aten
_COMPUTED = ("weight_v", "weight_orig", "parametrizations.weight.original1", "parametrizations.weight.original")
"""Names, within a layer, of what its weight is computed from under weight or spectral normalisation."""
TRANSPOSED = " (transposed)"
"""Behind the name of a weight: what it reads along the axis that is met second."""


@dataclass(frozen=True)
class LayerInput:
    """The inputs that `weight` multiplies: `values` (channels, positions), and the `axis` of it that runs over them.

    A grouped convolution reads the channels of all groups; its weight has those of one on that axis. read: number of
    positions before some were drawn.
    """

    weight: str
    values: Tensor
    axis: int
    read: int


def layer_inputs(
    network: nn.Module, inputs: Tensor, names: Collection[str], *, positions: int | None = None
) -> dict[str, LayerInput]:
    """The inputs that each weight among `names` multiplies in a forward pass of a batch `inputs`, by its name.

    One that is multiplied from either side, as where a decoder is an encoder transposed, reads two things: what it does
    along the axis that is met second stands under its name and `TRANSPOSED`.
    Positions are examples, times places of an image or of a text, without its padding; calls of one layer lie one
    behind the other. Weights that are read in another way than by a product of matrices or a convolution, as those of
    recurrent layers, are left out. BatchNorm takes the statistics of the batch and keeps its own; all else is in eval
    mode.

    positions: the largest number that is kept of a call, drawn with seed 0.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> layer_inputs(network, torch.zeros(5, 4), {"2.weight"})["2.weight"].values.shape
    torch.Size([3, 5])
    """
    reading = _Reading(network, names, positions)
    reading.texts = token_places(inputs)
    with ExitStack() as stack:
        stack.enter_context(modes_restored(network))
        set_eval_(network)
        stack.enter_context(plain_attention())
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | _ConvNd):
                stack.callback(module.register_forward_pre_hook(partial(reading.enter, name)).remove)
        stack.enter_context(batch_statistics(network))
        stack.enter_context(torch.no_grad())
        stack.enter_context(reading)
        network(inputs)
    found: dict[str, LayerInput] = {}
    for (name, axis), calls in reading.calls.items():
        read = reading.read[name, axis]
        found[name if name not in found else name + TRANSPOSED] = LayerInput(name, torch.cat(calls, 1), axis, read)
    return found


def all_inputs(parts: Sequence[Mapping[str, LayerInput]]) -> dict[str, LayerInput]:
    """Inputs of layers in several forward passes, one behind the other; of layers that have some in each."""
    found: dict[str, LayerInput] = {}
    for name in (name for name in parts[0] if all(name in part for part in parts)):
        each = [part[name] for part in parts]
        values = torch.cat([one.values for one in each], 1).float()
        found[name] = replace(each[0], values=values, read=sum(one.read for one in each))
    return found


def stacked_inputs(found: Mapping[str, LayerInput], stacks: Mapping[str, Sequence[str]]) -> dict[str, LayerInput]:
    """The same with what members of stacks read as one: `values` (members, channels, positions), `axis` of the stack.

    Left out where they read in different ways, or different numbers of positions, as experts that tokens are sent to.
    """
    members = {name for names in stacks.values() for name in names}
    made = {name: each for name, each in found.items() if each.weight not in members}
    for stack, names in stacks.items():
        for suffix in ("", TRANSPOSED):
            each = [found[name + suffix] for name in names if name + suffix in found]
            alike = {(one.axis, one.read, one.values.shape) for one in each}
            if len(each) == len(names) and len(alike) == 1:
                values = torch.stack([one.values for one in each])
                made[stack + suffix] = LayerInput(stack, values, each[0].axis + 1, each[0].read)
    return made


class _Reading(DispatchMode):  # type: ignore[no-untyped-call]
    """Mode that keeps what is multiplied by a weight or convolved with it, by its name and the axis of its inputs."""

    def __init__(self, network: nn.Module, names: Collection[str], positions: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions = positions
        self.calls: dict[tuple[str, int], list[Tensor]] = {}
        self.read = Counter[tuple[str, int]]()  # positions
        self.weights = {
            name: tensor for name, tensor in network.named_parameters(remove_duplicate=False) if name in names
        }
        self.places = {tensor.data_ptr(): name for name, tensor in self.weights.items() if tensor.numel()}
        self.layer = ""
        self.texts: Tensor | None = None  # (batch * length,), where there is padding: which tokens are none

    def enter(self, name: str, *_: Any) -> None:
        """Note which layer is called."""
        self.layer = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is _aten.convolution:
            values, weight, transposed = args[0], args[1], args[6]
            self._keep(self._name(weight), values.movedim(1, 0), 0 if transposed else 1)
        elif func.overloadpacket in (_aten.mm, _aten.addmm):
            first, second = args[-2:]
            if name := self._name(second.T):  # x W^T, as linear layers do, or x W
                self._keep(name, first.T, 1 if _is_rows(second.T, self.weights[name]) else 0)
            if name := self.places.get(first.data_ptr()):  # W x, or W^T x
                self._keep(name, second, 1 if _is_rows(first, self.weights[name]) else 0)
        return func(*args, **(kwargs or {}))

    def _keep(self, name: str | None, values: Tensor, axis: int) -> None:
        """Keep what a weight reads (channels, ...), unless these are not the channels that it has on `axis`."""
        if name is not None and len(values) % self.weights[name].shape[axis] == 0:
            places = values.flatten(1)
            if self.texts is not None and places.shape[1] == len(self.texts):
                places = places[:, self.texts]
            self.calls.setdefault((name, axis), []).append(_places(places, self.positions))
            self.read[name, axis] += places.shape[1]

    def _name(self, weight: Tensor) -> str | None:
        """Name of a weight: by its place in memory or, where it is computed in a layer, of what it is computed from."""
        return self.places.get(weight.data_ptr()) or self._computed_from(weight)

    def _computed_from(self, weight: Tensor) -> str | None:
        """Name of what the weight of the present layer is computed from: of the same shape."""
        for name in (f"{self.layer}.{part}".lstrip(".") for part in _COMPUTED):
            if name in self.weights and self.weights[name].shape == weight.shape:
                return name
        return None


def _is_rows(part: Tensor, whole: Tensor) -> bool:
    """Whether a weight is `whole`, or the first rows of it, as a query's projection is of those of query and key."""
    return part.shape[1:] == whole.shape[1:] and part.stride() == whole.stride()


def _places(values: Tensor, count: int | None) -> Tensor:
    """`count` of the positions of `values` (channels, positions), drawn with seed 0; all where there are no more."""
    positions = values.shape[1]
    if count is None or positions <= count:
        return values
    some = torch.randperm(positions, generator=torch.Generator().manual_seed(0))[:count]
    return values[:, some.to(values.device)]


def channel_axis(axes: Sequence[Node], shape: Sequence[int], axis: int, channels: int) -> Node | None:
    """Expression of the axis of the `channels` that a weight reads along `axis`, by the weight's own; None for none.

    A grouped convolution has (group * out, in, ...), a depthwise one (channels, 1, ...).
    """
    if isinstance(axes[axis], Cases):
        return None
    if shape[axis] == channels:
        return axes[axis]
    if shape[axis] == 1 and shape[0] == channels:
        return axes[0]
    outer = axes[0].factors[0] if isinstance(axes[0], Product) else None
    return Product((outer, axes[axis])) if isinstance(outer, Ref) and shape[axis] > 1 else None
