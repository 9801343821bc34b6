"""The learnable parameters of a spec as one vector: what is done to all of them is one operation."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.models.state_dicts import computable
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import unstacked


def learnable_floats(spec: Resolved, tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The learnable parameters among `tensors`, float32 on a device."""
    tensors = spec.seen(tensors)
    return {name: computable(tensors[name].detach()).float().to(device) for name in spec.learnable()}


class ParameterLayout:
    """Order of the learnable parameters of a spec (`spec.learnable()`) in a vector (P,) of float32."""

    def __init__(self, spec: Resolved) -> None:
        """One after the other, each in the order of its entries."""
        self.names, self._spec = spec.learnable(), spec
        self._shapes = [spec.shapes[name] for name in self.names]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size = sum(self._sizes)
        """Number of entries, P."""

    def vector(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The learnable parameters among `tensors` as one vector (P,), a new one."""
        tensors = self._spec.seen(tensors)
        return torch.cat([computable(tensors[name].detach()).reshape(-1).float() for name in self.names])

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector (P,) by name, in the parameters' shapes."""
        parts = torch.split(vector, self._sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self._shapes, strict=True)}

    def member_views(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector (P,) by the network's names: those of stacks one by one."""
        return unstacked(self.views(vector), self._spec.stacks)
