"""Auxiliary heads that exist only while training (GoogLeNet, Inception), traced and proved with the rest."""

from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from starcli.errors import StarcliError, type_in_words
from starcli.models.dtypes import AS_TWO_REAL_NUMBERS
from starcli.models.modes import modes_restored


class TracedNetwork(nn.Module):
    """A network as it is traced and proved: the same tensors under the same names, with fixed keyword arguments.

    With `auxiliary`, in eval mode its outermost module alone still believes that it trains, so that auxiliary heads are
    computed.
    """

    def __init__(self, network: nn.Module, kwargs: Mapping[str, Any], *, auxiliary: bool) -> None:
        """Wrap `network`, whose tensors are shared, not copied."""
        super().__init__()
        # the very dictionaries of the network: names, copies and conversions of tensors stay in step
        self._modules, self._parameters, self._buffers = network._modules, network._parameters, network._buffers
        self._non_persistent_buffers_set = network._non_persistent_buffers_set
        self.__dict__["network"] = network
        self.kwargs, self.auxiliary = dict(kwargs), auxiliary

    def train(self, mode: bool = True) -> "TracedNetwork":
        """Set the mode of all modules; with `auxiliary` the outermost one stays in train mode."""
        super().train(mode)
        self.__dict__["network"].training = mode or self.auxiliary
        return self

    def forward(self, *args: Any) -> Any:
        """Call the network with the fixed keyword arguments."""
        return self.__dict__["network"](*args, **self.kwargs)


def check_traceable(network: object, example_inputs: object) -> None:
    """Raise StarcliError for what is no module with real parameters, and for inputs that are not in a tuple or list."""
    if not isinstance(network, nn.Module):
        raise StarcliError(f"{type_in_words(network)} is no network: expected a module")
    if not isinstance(example_inputs, tuple | list):
        raise StarcliError(f"example_inputs: {type_in_words(example_inputs)}, expected a tuple of inputs, as in (x,)")
    if not any(True for _ in network.parameters()):
        raise StarcliError("the network has no parameters, so it has no symmetries to find")
    if any(parameter.is_complex() for parameter in network.parameters()):
        raise StarcliError("the network has complex parameters, which are not supported", [AS_TWO_REAL_NUMBERS])


def traced_network(
    network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> nn.Module:
    """The module to trace and to prove in place of `network`.

    That is the network itself, or a `TracedNetwork` where it takes keyword arguments or where putting its outermost
    module alone into train mode gives more outputs, the same each time.
    """
    if not _may_read_mode(network):
        return TracedNetwork(network, kwargs, auxiliary=False) if kwargs else network
    with modes_restored(network):
        plain = TracedNetwork(network, kwargs or {}, auxiliary=False)
        whole = TracedNetwork(network, kwargs or {}, auxiliary=True)
        if _has_more(plain, whole, example_inputs):
            return whole
        return plain if kwargs else network


def _may_read_mode(network: nn.Module) -> bool:
    """Whether the outermost module's own code could ask for its mode, by the name `training` or in a hidden way.

    Most networks do not, and are spared passes that take seconds at full size.
    """
    if "forward" in vars(network):
        return True
    for kind in type(network).__mro__:
        for member in vars(kind).values() if kind not in (nn.Module, object) else ():
            if not isinstance(member, FunctionType):
                if callable(member) or isinstance(member, property):
                    return True
            elif set(member.__code__.co_freevars) - {"__class__"} or hasattr(member, "__wrapped__"):
                return True  # a decorator's work: it may call anything
            elif any("training" in code.co_names + code.co_consts for code in _codes(member.__code__)):
                return True
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code object and all that are nested in it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _has_more(plain: TracedNetwork, whole: TracedNetwork, inputs: Sequence[Any]) -> bool:
    """Whether `whole` gives more outputs than `plain`, and the same ones each time."""
    few = _run(plain, inputs)
    try:
        many = _run(whole, inputs)
        again = _run(whole, inputs) if len(many) > len(few) else []
    except Exception:  # a network may do anything in a mode that nobody asked for
        return False
    return len(many) > len(few) and all(torch.equal(a, b) for a, b in zip(many, again, strict=True))


def _run(network: nn.Module, inputs: Sequence[Any]) -> list[torch.Tensor]:
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(network.eval()(*inputs)) if isinstance(leaf, torch.Tensor)]
