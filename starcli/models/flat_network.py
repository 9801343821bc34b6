"""Networks whose learnable parameters lie in one vector: interpolating two networks is one operation on vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, few, number_of, type_in_words
from starcli.models.dtypes import AS_TWO_REAL_NUMBERS, cast_floats_, refuse_unwritable
from starcli.models.shared_memory import sharing
from starcli.models.spectral_norm import NormalisedWeight, normalised_weights
from starcli.models.state_dicts import computable, load_state, misfits, versions_of


@dataclass(frozen=True)
class ParameterSlot:
    """Place of a parameter in the vector: `numel` entries from `offset`."""

    name: str
    shape: tuple[int, ...]
    offset: int
    numel: int


EXTRA_STATE = "_extra_state"
"""Last part of the names under which torch keeps modules' extra state."""


class FlatNetwork:
    """Network whose learnable parameters are views of one vector, `parameters` (P,).

    A tied parameter has one slot, under its first name. What is not learnable (buffers, parameters that require no
    gradient) stays apart, in `buffers`. The network itself is changed: it is the same object, with the same values.

    >>> flat = FlatNetwork(nn.Linear(2, 3))
    >>> flat.parameters.shape, {slot.name: slot.shape for slot in flat.layout}
    (torch.Size([9]), {'weight': (3, 2), 'bias': (3,)})
    >>> _ = torch.lerp(flat.flatten(flat.state()), torch.zeros(9), 1.0, out=flat.parameters)
    >>> flat.network.weight.abs().sum().item()
    0.0
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        memory_format: torch.memory_format = torch.contiguous_format,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Move the learnable parameters of `network` into one vector.

        memory_format: `torch.channels_last` lays the entries of 4-D weights out as (out, height, width, in), which CPU
            convolutions prefer; names, shapes and everything that `state`, `load` and `flatten` give and take are the
            same.
        dtype: of the vector and of the whole network.

        Raises StarcliError for a network without learnable parameters, with complex ones, or with complex128 buffers.
        """
        if memory_format not in (torch.contiguous_format, torch.channels_last):
            raise ValueError(f"memory_format is contiguous_format or channels_last, not {memory_format}")
        self.memory_format = memory_format
        learnable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if not learnable:
            off = ["requires_grad is off for all: requires_grad_(True) turns it on"] if [*network.parameters()] else []
            raise StarcliError("the network has no learnable parameter", off)
        refuse_unwritable(network.state_dict(), "the network")
        self.layout = _layout(learnable)
        self._parted = _parted(network)
        self.network = cast_floats_(network, dtype)
        self.tied = _tied(network)
        last = self.layout[-1]
        device = next(iter(learnable.values())).device
        self._adopt(torch.empty(last.offset + last.numel, dtype=dtype, device=device), learnable, copy=True)

    def __repr__(self) -> str:
        """Class of the network and number of its parameters."""
        return f"FlatNetwork({type(self.network).__name__}, {number_of(self.parameters.numel(), 'parameter')})"

    @cached_property
    def normalised_weights(self) -> tuple[NormalisedWeight, ...]:
        """Weights under spectral normalisation; most networks have none."""
        return tuple(normalised_weights(self.network))

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Persistent tensors that are not learnable, by name, as they lie in the network (not copies)."""
        learnable = self._learnable_names()
        state = self.network.state_dict().items()
        return {name: tensor for name, tensor in state if name not in learnable and not name.endswith(EXTRA_STATE)}

    @property
    def extra_state(self) -> dict[str, Tensor]:
        """Copies of what modules keep beside parameters and buffers (`get_extra_state`)."""
        return {name: value for name, value in self.network.state_dict().items() if name.endswith(EXTRA_STATE)}

    def set_extra_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the modules back what they keep of themselves, from a state dict."""
        for name in self.extra_state.keys() & tensors.keys():
            self.network.get_submodule(name.removesuffix(EXTRA_STATE).rstrip(".")).set_extra_state(tensors[name])

    def load_buffers(self, models: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> list[str]:
        """Put sum_i weights[i] of the models' float buffers into the network; return the names of those that differ.

        What is equal in all models of any weight, and what is no float (counters, masks), is the first model's.
        """
        mixed, own, extra = [], self.buffers, self.extra_state
        for name in own | extra:
            first = models[0].get(name)
            if first is None:
                continue
            terms = [(model.get(name, first), weight) for model, weight in zip(models, weights, strict=True) if weight]
            equal = all(torch.equal(computable(first), computable(each)) for each, _ in terms)
            value = first
            if first.is_floating_point() and not equal:
                value = torch.zeros(first.shape, dtype=torch.float64)
                for each, weight in terms:
                    value.add_(each.cpu().double(), alpha=weight)
                mixed.append(name)
            if name in own:
                own[name].copy_(value)
            else:
                extra[name] = value.to(first.dtype)
        self.set_extra_state(extra)
        return mixed

    def check_trainable(self) -> None:
        """Check that training here is training in torch, and leaves a state dict.

        Raises StarcliError where two learnable parameters, or one and a buffer, shared memory: they no longer do, while
        torch would move both at once. And where modules keep state that is no tensor, and so cannot be written.
        """
        problems = [f"{few(names, 3)}: share memory, and training here would move one alone" for names in self._parted]
        problems += [
            f"{name}: {type_in_words(value)}, no tensor"
            for name, value in self.network.state_dict().items()
            if not isinstance(value, Tensor)
        ]
        if problems:
            raise StarcliError("a network with such state cannot be trained here", problems)

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """Named views of `vector` (P,) in the parameters' shapes."""
        parts = vector.split_with_sizes([slot.numel for slot in self.layout])
        return {slot.name: self._shaped(part, slot) for part, slot in zip(parts, self.layout, strict=True)}

    def state(self) -> dict[str, Tensor]:
        """Full state dict as contiguous copies on the CPU, in its own order, tied parameters under every name."""
        copies = {}
        for name, tensor in self.network.state_dict().items():
            if not isinstance(tensor, Tensor):
                raise StarcliError(f"{name}: the network keeps state that is not a tensor ({type(tensor).__name__})")
            copies[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        return copies

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put a full state dict into the network, as `load_state` does; after its errors the network is spoilt."""
        load_state(self.network, tensors, versions_of(self.network))

    def flatten(self, tensors: Mapping[str, Tensor], out: Tensor | None = None) -> Tensor:
        """Learnable parameters of a state dict as a vector (P,) in this layout; other entries are ignored.

        out: a vector to write into, of this network's size; a new one on this network's device otherwise.

        Raises StarcliError with every missing or misshapen tensor.
        """
        expected = self.views(self.parameters)
        problems = misfits(expected, {name: tensors[name] for name in expected if name in tensors})
        if problems:
            raise StarcliError("these weights do not fit the network", problems)
        vector = torch.empty_like(self.parameters) if out is None else out
        with torch.no_grad():
            for name, view in self.views(vector).items():
                view.copy_(tensors[name])
        return vector

    def to(self, device: torch.device | str) -> "FlatNetwork":
        """Move the vector and the buffers to `device`; return this object."""
        parameters = self.parameters.to(device)
        if parameters is not self.parameters:
            self.network.to(device)
            self._adopt(parameters, self._learnable(), copy=False)
        return self

    def _learnable(self) -> dict[str, nn.Parameter]:
        """Learnable parameters by name."""
        found = dict(self.network.named_parameters())
        return {slot.name: found[slot.name] for slot in self.layout}

    def _learnable_names(self) -> set[str]:
        """All names of learnable parameters, tied ones under each of theirs."""
        names = {slot.name for slot in self.layout}
        return names | {name for group in self.tied if group[0] in names for name in group}

    def _shaped(self, flat: Tensor, slot: ParameterSlot) -> Tensor:
        """View of a parameter's place in a vector, in its shape."""
        if self.memory_format is torch.channels_last and len(slot.shape) == 4:
            out, inner, height, width = slot.shape
            return flat.view(out, height, width, inner).permute(0, 3, 1, 2)
        return flat.view(slot.shape)

    def _adopt(self, vector: Tensor, learnable: Mapping[str, nn.Parameter], *, copy: bool) -> None:
        """Make `vector` the memory of the parameters `learnable`."""
        self.parameters = vector
        for name, view in self.views(vector).items():
            parameter = learnable[name]
            if copy:
                view.copy_(parameter.detach())
            # the Parameter object stays, so that tied modules and hooks keep pointing at it
            parameter.data = view


def weighted_sum_(out: Tensor, vectors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Put sum_i weights[i] vectors[i] into `out` (P,), of weights that sum to 1.

    Exactly a vector where it has all the weight; of two by `torch.lerp`, which is exact wherever they are equal.
    """
    (first, weight), *others = [(v, w) for v, w in zip(vectors, weights, strict=True) if w]
    with torch.no_grad():
        if len(others) == 1:
            return torch.lerp(first, *others[0], out=out)
        torch.mul(first, weight, out=out)
        for vector, weight in others:
            out.add_(vector, alpha=weight)
    return out


def _layout(learnable: Mapping[str, nn.Parameter]) -> tuple[ParameterSlot, ...]:
    """Slots of the learnable parameters, in order."""
    slots, offset = [], 0
    for name, parameter in learnable.items():
        if parameter.is_complex():
            raise StarcliError(f"{name}: complex parameters are not supported", [AS_TWO_REAL_NUMBERS])
        slots.append(ParameterSlot(name, tuple(parameter.shape), offset, parameter.numel()))
        offset += parameter.numel()
    return tuple(slots)


def _parted(network: nn.Module) -> list[list[str]]:
    """Sets of names of tensors that overlap in memory, a learnable parameter among them; one tensor counts once."""
    learnable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    groups = sharing(dict(network.named_parameters()) | dict(network.named_buffers()))
    return [group for group in groups if learnable & set(group)]


def _tied(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Sets of names that stand for one parameter, the first name first."""
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)
