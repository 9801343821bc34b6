"""What a state dict is to a network: torch's own strict load decides, and what it leaves to an order is refused."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from starcli.errors import StarcliError, few, first_line

Versions = Mapping[str, Any]
"""Versions of modules, as torch keeps them in `state_dict()._metadata`: some modules load older states otherwise."""


@dataclass(frozen=True)
class Fitted:
    """The state of a network after a load: names whose tensors are a file's own, by their names there, and the rest."""

    same: Mapping[str, str]
    made: Mapping[str, Tensor]

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict, from the tensors of the file."""
        return {name: tensors[own] for name, own in self.same.items()} | dict(self.made)


def versions_of(network: nn.Module) -> Versions:
    """Versions of the modules of a network as it is."""
    found: Versions = getattr(network.state_dict(), "_metadata", {})
    return found


def is_state_of(network: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a load would only copy `tensors`, each to its name: they are the state as they are.

    They need not be loaded then, and `network` may be an outline. False leaves it open.
    """
    state = network.state_dict()
    if state.keys() != tensors.keys() or _has_own_rules(network):
        return False
    if not all(isinstance(own, Tensor) and _alike(own, tensors[name]) for name, own in state.items()):
        return False
    return all(
        _place(state[name]) == _place(state[first]) and _holds(tensors[name], tensors[first])
        for first, *others in sharing(state)
        for name in others
    )


def fit(network: nn.Module, tensors: Mapping[str, Tensor], versions: Versions | None = None) -> Fitted:
    """Load a state dict into `network`, which is used up, and tell its state.

    What torch only copies stays the tensor that was given, of its own type. What the network makes (tied names that
    were left out, counters that were not there, what hooks compute) has the type of the file's floats if that holds it.
    Errors and versions are those of `load_state`.

    >>> network = nn.BatchNorm1d(2)
    >>> names = "weight", "bias", "running_mean", "running_var"
    >>> fit(network, {name: torch.ones(2, dtype=torch.float64) for name in names}).made
    {'num_batches_tracked': tensor(0)}
    """
    floats = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if torch.float64 in floats:
        _widen_(network)
    load_state(network, tensors, versions)
    state = network.state_dict()
    same = {name: name for name, own in state.items() if name in tensors and _holds(tensors[name], own)}
    stored = {_place(state[name]): name for name in same}
    made = {}
    for name in [name for name in state if name not in same]:
        if _place(state[name]) in stored:
            same[name] = stored[_place(state[name])]
            continue
        made[name] = state[name].detach().clone(memory_format=torch.contiguous_format)
        narrow = made[name].to(*floats) if len(floats) == 1 else made[name]
        if _holds(narrow, made[name]):
            made[name] = narrow
    return Fitted(same, made)


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], versions: Versions | None = None) -> None:
    """Put a state dict into `network`, in place, as `load_state_dict(strict=True)` does.

    A name may be missing where its memory in the network is that of others: a tied weight that was written once.
    versions: those that the state dict was saved with (None: not known).

    Raises StarcliError with what is unknown to the network, of another shape and missing, in this order, and with
    tensors that share memory in the network but differ, of which the last one would win. The network is then spoilt.
    """
    state = network.state_dict()
    problems = [line for name, own in state.items() if (line := _strange(name, own, tensors.get(name)))]
    learnable = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    problems += [f"{name}: the network leaves it out of its own state dict" for name in learnable if name not in state]
    if not problems:
        # rules of the network's own may write into what they are given
        given = {name: tensor.clone() for name, tensor in tensors.items()} if _has_own_rules(network) else tensors
        problems = _problems_of_load(network, given, versions)
    if problems:
        raise StarcliError("these weights do not fit the network", problems)


def _strange(name: str, own: object, given: Tensor | None) -> str | None:
    """What is no tensor in the network, or would lose its imaginary part there, in one line."""
    if not isinstance(own, Tensor):
        return f"{name}: the network keeps a {type(own).__name__} there, no tensor"
    if given is not None and given.is_complex() and not own.is_complex():
        return f"{name}: {given.dtype}, the network has {own.dtype}"
    return None


def misfits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """What of `tensors` is unknown, of another shape or missing beside a state dict, one line each, in this order."""
    unknown, missing = tensors.keys() - expected.keys(), expected.keys() - tensors.keys()
    return _lines(unknown, _misshapen(expected, tensors), missing)


def _lines(unknown: Iterable[str], misshapen: Mapping[str, str], missing: Iterable[str]) -> list[str]:
    return [
        *(f"{name}: not in the network" for name in sorted(unknown)),
        *(misshapen[name] for name in sorted(misshapen)),
        *(f"{name}: missing" for name in sorted(missing)),
    ]


def _misshapen(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A line for each tensor of another shape, by name."""
    return {
        name: f"{name}: shape {tuple(tensors[name].shape)}, the network has {tuple(own.shape)}"
        for name, own in expected.items()
        if name in tensors and tensors[name].shape != own.shape
    }


def _problems_of_load(network: nn.Module, tensors: Mapping[str, Tensor], versions: Versions | None) -> list[str]:
    """Load `tensors` and tell what is wrong with them, one line each."""
    state = network.state_dict()
    writes = _Writes(state)
    misshapen: dict[str, str] = {}
    try:
        unknown, missing = _incompatible(network, tensors, versions, writes)
    except Exception as error:  # torch's, for shapes; hooks may raise anything
        misshapen = _misshapen(state, tensors)
        if not misshapen:
            return [first_line(error)]
        rest = {name: tensor for name, tensor in tensors.items() if name not in misshapen}
        try:
            unknown, missing = _incompatible(network, rest, versions, writes)
        except Exception:  # said better by the shapes
            unknown, missing = [], []
    missing = [name for name in missing if name not in misshapen and not writes.covers(name)]
    return [*_lines(unknown, misshapen, missing), *writes.conflicts()]


def _incompatible(
    network: nn.Module, tensors: Mapping[str, Tensor], versions: Versions | None, writes: "_Writes"
) -> tuple[list[str], list[str]]:
    """Load `tensors`; the names that are unknown to the network, and those that are missing."""
    given: Any = OrderedDict(tensors)
    if isinstance(versions, Mapping) and all(isinstance(each, Mapping) for each in versions.values()):
        given._metadata = versions  # a file may hold anything in this place
    with writes:
        found = network.load_state_dict(given, strict=False)
    return list(found.unexpected_keys), list(found.missing_keys)


class _Writes(TorchFunctionMode):
    """What a load writes into memory that several names of a network share, and where two writes differ."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state, self.groups = state, sharing(state)
        self.written: dict[int, Tensor] = {}
        for name in chain.from_iterable(self.groups):
            storage, tensor = state[name].untyped_storage(), state[name]
            size = storage.nbytes() // tensor.element_size()
            self.written[storage.data_ptr()] = torch.zeros(size, dtype=torch.bool, device=tensor.device)
        self.differences: dict[str, float] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; of a copy into shared memory, see whether it changes what was written before."""
        target = args[0] if getattr(func, "__name__", "") == "copy_" else None
        written = None if target is None else self._written(target)
        if target is None or written is None:
            return func(*args, **(kwargs or {}))
        before = target.detach()[written]
        found = func(*args, **(kwargs or {}))
        after = target.detach()[written]
        if not torch.equal(before, after):
            names = next(few(group, 3) for group in self.groups if any(_overlap(target, self.state[n]) for n in group))
            largest = float((after.double() - before.double()).abs().max())
            self.differences[names] = max(largest, self.differences.get(names, 0.0))
        written.fill_(True)
        return found

    def _written(self, tensor: Tensor) -> Tensor | None:
        """Which elements of a tensor were written, as a view; None where its memory is of no interest."""
        mask = self.written.get(tensor.untyped_storage().data_ptr())
        return None if mask is None else mask.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def covers(self, name: str) -> bool:
        """Whether all of a tensor was written, be it under other names."""
        written = self._written(self.state[name]) if name in self.state else None
        return written is not None and bool(written.all())

    def conflicts(self) -> list[str]:
        """A line for each set of names that share memory and were given differing values."""
        return [f"{names} are tied, but differ by up to {size:.3g}" for names, size in self.differences.items()]


def sharing(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Sets of names whose tensors overlap in memory; an outline, which has none, shares none."""
    solid = {name: tensor for name, tensor in state.items() if tensor.numel() and not tensor.is_meta}
    groups: list[list[str]] = []
    for name in sorted(solid, key=lambda name: _extent(solid[name])):
        if groups and any(_overlap(solid[name], solid[other]) for other in groups[-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    places = {name: place for place, name in enumerate(state)}
    return [sorted(group, key=places.__getitem__) for group in groups if len(group) > 1]


def _extent(tensor: Tensor) -> tuple[int, int, int]:
    """Storage of a tensor, and its first and last element there."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = int(tensor.storage_offset())
    return tensor.untyped_storage().data_ptr(), first, first + int(last)


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors lie, in part, in the same stretch of memory."""
    (storage, first, last), (other_storage, other_first, other_last) = _extent(one), _extent(other)
    return storage == other_storage and first <= other_last and other_first <= last


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies; two of one place are one tensor."""
    return (*_extent(tensor), tuple(tensor.shape), tensor.stride(), tensor.dtype)


def computable(tensor: Tensor) -> Tensor:
    """A tensor of a type that torch compares and adds; floats of 8 bits, which it only stores, become float32."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape and one kind of numbers, if not one width."""

    def kind(tensor: Tensor) -> tuple[bool, bool, bool]:
        return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool

    return one.shape == other.shape and kind(one) == kind(other)


def _holds(given: Tensor, value: Tensor) -> bool:
    """Whether `given` is `value`, be it of another width."""
    return _alike(given, value) and torch.equal(computable(given.to(value.device, value.dtype)), computable(value))


def _has_own_rules(network: nn.Module) -> bool:
    """Whether a module saves or loads by rules of its own; those of torch leave a whole state as it is."""
    tables = ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_state_dict_hooks", "_state_dict_pre_hooks")
    methods = ("load_state_dict", "_load_from_state_dict", "state_dict", "_save_to_state_dict", "get_extra_state")
    for module in network.modules():
        hooks = [hook for table in tables for hook in getattr(module, table, {}).values()]
        for rule in (*(getattr(hook, "hook", hook) for hook in hooks), *(getattr(type(module), m) for m in methods)):
            if not str(getattr(rule, "__module__", "")).startswith("torch.nn."):
                return True
    return False


def _widen_(network: nn.Module) -> None:
    """Make all floats of `network` float64; what shares memory still does."""
    memory: dict[int, Tensor] = {}
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            key = tensor.untyped_storage().data_ptr()
            if key not in memory:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                memory[key] = whole.double()
            tensor.data = memory[key].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
