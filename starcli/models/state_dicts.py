"""State dicts loaded into a network: torch's own strict load decides, and what it leaves to an order is refused."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, type_in_words
from starcli.models.shared_memory import SharedWrites, place_of, sharing

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
        place_of(state[name]) == place_of(state[first]) and _holds(tensors[name], tensors[first])
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
    stored = {place_of(state[name]): name for name in same}
    made = {}
    for name in [name for name in state if name not in same]:
        if place_of(state[name]) in stored:
            same[name] = stored[place_of(state[name])]
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
        return f"{name}: the network keeps {type_in_words(own)} there, no tensor"
    if given is not None and given.is_complex() and not own.is_complex():
        return f"{name}: {given.dtype}, the network has {own.dtype}"
    return None


def misfits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Tensors that are unknown, of another shape or missing beside a state dict, one line each, in this order."""
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
    writes = SharedWrites(state)
    misshapen: dict[str, str] = {}
    try:
        unknown, missing = _incompatible(network, tensors, versions, writes)
    except Exception as error:  # torch's, for shapes; hooks may raise anything
        misshapen = _misshapen(state, tensors)
        if not misshapen:
            return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        rest = {name: tensor for name, tensor in tensors.items() if name not in misshapen}
        try:
            unknown, missing = _incompatible(network, rest, versions, writes)
        except Exception:  # said better by the shapes
            unknown, missing = [], []
    missing = [name for name in missing if name not in misshapen and not writes.covers(name)]
    return [*_lines(unknown, misshapen, missing), *writes.conflicts()]


def _incompatible(
    network: nn.Module, tensors: Mapping[str, Tensor], versions: Versions | None, writes: SharedWrites
) -> tuple[list[str], list[str]]:
    """Load `tensors`; the names that are unknown to the network, and those that are missing."""
    given: Any = OrderedDict(tensors)
    if isinstance(versions, Mapping) and all(isinstance(each, Mapping) for each in versions.values()):
        given._metadata = versions  # a file may hold anything in this place
    with writes if writes.groups else nullcontext():  # the mode is dear: it sees every operator
        found = network.load_state_dict(given, strict=False)
    return list(found.unexpected_keys), list(found.missing_keys)


def computable(tensor: Tensor) -> Tensor:
    """A tensor of a type that torch compares and adds; floats of 8 bits, which it only stores, become float32."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors of floats with NaN or infinite values, in their order.

    >>> not_finite({"a": torch.tensor([1.0, torch.nan]), "b": torch.ones(2), "c": torch.tensor(3)})
    ['a']
    """
    floats = {name: computable(each.detach()) for name, each in tensors.items() if each.is_floating_point()}
    # a norm is finite where all values are, unless it overflows, and those of all tensors are one call
    norms = torch._foreach_norm([*floats.values()]) if floats else ()
    doubtful = [each for each, norm in zip(floats.items(), norms, strict=True) if not math.isfinite(norm)]
    return [name for name, each in doubtful if not bool(each.isfinite().all())]


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
