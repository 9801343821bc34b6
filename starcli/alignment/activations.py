"""Matching by what units compute: activations on some examples beside the weights, in one objective.

    maximise over pi   (1 - s) cos(A, pi(B)) + s cos(X, pi(Y))

A and B are the weights of the two models, X and Y what their layers read (`layer_inputs`) on the same examples, that of
each layer scaled to one unit of energy a channel. X moves with the units as the weights do, so that one search is for
both. Ainsworth et al. 2022 (Git Re-Basin), section 3.1, match by such inner products layer by layer, Li et al. 2016 by
correlations. No labels are used.
"""

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.alignment.alignment import Alignment
from starcli.alignment.layer_inputs import LayerInput, all_inputs, channel_axis, layer_inputs, stacked_inputs
from starcli.alignment.method_settings import SETTINGS
from starcli.checkpoints.hashes import weights_sha256
from starcli.errors import StarcliError
from starcli.evaluation.batchnorm_statistics import evened_batch_size, has_batch_statistics
from starcli.symmetry.archspec.expression import Fixed, Node, size_of_expression, symbols
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import make_resolved

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

POSITIONS = 2048
"""Positions of a layer that are compared, of all examples together."""
PIXELS = 2**18
"""Input pixels, or tokens, in a forward pass: 256 images of 32 x 32. BatchNorm takes its statistics from as many."""
KEPT_ACTIVATION_BYTES = 256 * 2**20
"""What models read is kept up to so much, for when they are matched again: in a star's next epoch, in another pair."""
FEWEST = 32
"""Examples in a forward pass however large they are; with fewer, statistics would be noise."""
INPUT = "input of "
"""Before the name of a weight: the name of what it reads."""


class Activations:
    """State dicts of one network with what its layers read beside the weights, for any number of models.

    All models are given the same examples of the training split, drawn with seed 0, or the same noise.
    """

    def __init__(self, workspace: "Workspace", how: Alignment) -> None:
        """Read the examples. StarcliError where noise is asked for in the place of tokens, and for too few examples."""
        self.workspace, self.how = workspace, how
        self._own = workspace.spec.resolved
        self._batches = list(self._inputs(0))
        self._draw = 0
        self._last: Activations | None = None
        # of all draws, the longest unused first
        self._kept: dict[tuple[int, str], tuple[float, dict[str, Tensor]]] = {}
        self._network = workspace.network()
        if sum(map(len, self._batches)) < 2 and has_batch_statistics(self._network.network):
            raise StarcliError("activations of a network with BatchNorm need at least 2 training examples, found 1")
        self._lock = threading.Lock()  # models may be matched side by side, and share the network

    def drawn(self, number: int) -> "Activations":
        """Activations on other examples, or other noise: those of draw `number`, of which 0 is this one's.

        Of the others only the last is held, for draws may be many, and images large.
        """
        if number == self._draw:
            return self
        other = self._last
        if other is None or other._draw != number:
            _ = self.spec  # once for all
            other = copy.copy(self)
            other._last, other._draw, other._batches = None, number, list(self._inputs(number))
            self._last = other
        return other

    def _inputs(self, seed: int) -> list[Tensor]:
        """Batches of the examples, or of noise."""
        device, generator = self.workspace.device, torch.Generator().manual_seed(seed)
        architecture = self.workspace.architecture
        if self.how.examples != "noise":
            split = self.workspace.dataset.train
            wanted = int(self.how.examples or 0)
            if len(split) < wanted != SETTINGS["examples"].default:
                raise StarcliError(f"{wanted} examples to compare on (--align-examples): there are {len(split)}")
            some = torch.randperm(len(split), generator=generator)[:wanted]
            size = _batch_size(len(some), architecture.extent)
            return [inputs for inputs, _ in split.subset(some.sort().values).batches(size, device=device)]
        if architecture.input_dtype != "float32":
            raise StarcliError("noise in the place of examples is for images and vectors, not for tokens")
        count = int(SETTINGS["examples"].default)
        noise = torch.randn((count, *architecture.input_shape), generator=generator).to(device)
        return list(torch.split(noise, _batch_size(count, architecture.extent)))

    def _observed(self) -> dict[str, LayerInput]:
        """What the layers of the network, as it is, read at `POSITIONS` places, the same for every model."""
        own = self._own
        members = [each for name in own.learnable() for each in own.stacks.get(name, (name,))]
        names = [name for name in members if len(own.member_shapes[name]) > 1]
        count = sum(map(len, self._batches))
        parts = [
            layer_inputs(self._network.network, inputs, names, positions=max(1, POSITIONS * len(inputs) // count))
            for inputs in self._batches
        ]
        return stacked_inputs(all_inputs(parts), own.stacks)

    @cached_property
    def _axes(self) -> dict[str, tuple[Node, ...]]:
        """Axes of what the layers read, by its name, where the spec tells which units its channels are."""
        found: dict[str, tuple[Node, ...]] = {}
        for name, each in self._observed().items():
            *_, channels, positions = each.values.shape
            around = each.values.dim() - 2  # 1 for the members of a stack
            axes, shape = self._own.axes[each.weight], self._own.shapes[each.weight]
            node = channel_axis(axes[around:], shape[around:], each.axis - around, channels)
            if node is not None and symbols(node):
                found[name] = *axes[:around], node, Fixed(positions)
        if not found and self._own.groups:
            raise StarcliError("no layer reads units that can be renamed: activations say nothing, weights may")
        return found

    @cached_property
    def spec(self) -> Resolved:
        """The network's spec, with what its layers read as tensors of their own."""
        own = self._own
        sizes = own.sizes
        axes = {**own.axes, **{INPUT + name: each for name, each in self._axes.items()}}
        shapes = {
            name: own.shapes.get(name) or tuple(size_of_expression(node, sizes) or 0 for node in nodes)
            for name, nodes in axes.items()
        }
        buffers = own.buffers | (self._known_by_activations() if self.how.share == 1 else frozenset())
        return make_resolved(own.groups, axes, shapes, buffers, own.tied)

    def _known_by_activations(self) -> frozenset[str]:
        """Weights none of whose units is out of sight: no layer reads it, as the keys of attention."""
        seen = {group for nodes in self._axes.values() for node in nodes for group in symbols(node)}
        unseen = {name for group, names in self._own.bearing.items() if group not in seen for name in names}
        return frozenset(self._own.axes.keys() - unseen)

    def beside(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict and what the layers read with these weights, each scaled by its share in the objective."""
        spec = self.spec  # first: which layers are compared is told by the network as it is made
        factor, read = self._scaled(tensors)
        weights = {name: tensor * factor for name, tensor in self._weights(tensors).items()}
        return {**tensors, **spec.named({**weights, **read})}

    def _weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights that are compared."""
        own, spec = self._own.seen(tensors), self.spec
        return {name: own[name].detach().float() for name in self._own.learnable() if name not in spec.buffers}

    def _compared(self, name: str, observed: LayerInput | None) -> Tensor:
        """What a layer reads as it is compared; nothing where it does not read so many positions with every weights."""
        shape = self.spec.shapes[name]
        if observed is None or observed.values.shape != shape:
            return torch.zeros(shape)
        return _energy(observed.values.cpu(), str(self.how.gains))

    def _scaled(self, tensors: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """Factor that scales these weights, and what the layers read with them, scaled.

        On a CPU, where that takes longer than to hash the weights, it is kept.
        """
        key = (self._draw, weights_sha256(tensors)) if self.workspace.device.type == "cpu" else None
        with self._lock:
            if key is not None and (found := self._kept.pop(key, None)) is not None:
                self._kept[key] = found
                return found
            self._network.load(tensors)
            observed = self._observed()
        # a GPU may still compute these, while the next model is loaded
        read = {INPUT + name: self._compared(INPUT + name, observed.get(name)) for name in self._axes}
        share = float(self.how.share or 0)
        factor = _factor(read, share)
        read = {name: tensor * factor for name, tensor in read.items()}
        found = _factor(self._weights(tensors), 1 - share or 1.0), read
        if key is not None:
            with self._lock:
                self._kept[key] = found
                while sum(_bytes(each) for _, each in self._kept.values()) > KEPT_ACTIVATION_BYTES:
                    del self._kept[next(iter(self._kept))]
        return found


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _batch_size(count: int, extent: Sequence[int]) -> int:
    """Examples in a forward pass, evened out, so that none is left alone."""
    return evened_batch_size(max(FEWEST, PIXELS // max(1, math.prod(extent[1:]))), count)


def _energy(values: Tensor, gains: str) -> Tensor:
    """What a layer reads (..., channels, positions), squares of a channel summing to 1: in the mean, or of each one.

    "correlation" takes the deviations of each channel from its mean; channels that never change are 0.
    """
    if gains == "correlation":
        values = values - values.mean(-1, keepdim=True)
        norms = values.norm(dim=-1, keepdim=True)
        return torch.where(norms > 0, values / norms, 0.0)
    norm = values.norm()
    return values * (math.prod(values.shape[:-1]) ** 0.5 / norm) if norm > 0 else values


def _factor(tensors: Mapping[str, Tensor], share: float) -> float:
    """What the tensors are multiplied by, so that their squares sum to `share`."""
    total = sum(float(tensor.double().square().sum()) for tensor in tensors.values())
    return (share / total) ** 0.5 if total else 0.0
