"""Copies of networks, also of those that keep what they computed from their weights."""

import copy
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.overrides import TorchFunctionMode

_Network = TypeVar("_Network", bound=nn.Module)


class _ComputedTensors(TorchFunctionMode):
    """Mode in which tensors that were computed are copied by their values; torch refuses those with a history.

    `torch.nn.utils.weight_norm` leaves such a tensor in a module, and computes it anew in each forward pass.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # torch.export of torch 2.6 leaves such a tensor without values, of whose copy torch warns
        if func is Tensor.__deepcopy__ and (not args[0].is_leaf or isinstance(args[0], FakeTensor)):
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def uncompiled(network: nn.Module) -> nn.Module:
    """The network that `torch.compile` was given, and any other itself: names without `_orig_mod.`, ready to trace."""
    inner = getattr(network, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else network


def copy_network(network: _Network, replaced: MutableMapping[int, Any] | None = None) -> _Network:
    """Deep copy of a network, in which the objects whose ids are the keys of `replaced` become its values.

    >>> network = nn.Linear(2, 3)
    >>> again = copy_network(network)
    >>> again.weight is network.weight, again.weight.tolist() == network.weight.tolist()
    (False, True)
    """
    with _ComputedTensors():
        return copy.deepcopy(network, dict(replaced or {}))
