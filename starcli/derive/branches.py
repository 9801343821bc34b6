"""Auxiliary heads that exist only while training (GoogLeNet, Inception) are traced and proved with the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


class Subject(nn.Module):
    """A network as it is traced and proved: same tensors under the same names, fixed keyword arguments, and in eval
    mode its outermost module alone still believes that it trains, so that auxiliary heads are computed."""

    def __init__(self, network: nn.Module, kwargs: Mapping[str, Any], *, auxiliary: bool) -> None:
        super().__init__()
        # the very dictionaries of the network: names, copies and conversions of tensors stay in step
        self._modules, self._parameters, self._buffers = network._modules, network._parameters, network._buffers
        self._non_persistent_buffers_set = network._non_persistent_buffers_set
        self.__dict__["network"] = network
        self.kwargs, self.auxiliary = dict(kwargs), auxiliary

    def train(self, mode: bool = True) -> "Subject":
        super().train(mode)
        self.__dict__["network"].training = mode or self.auxiliary
        return self

    def forward(self, *args: Any) -> Any:
        return self.__dict__["network"](*args, **self.kwargs)


def subject(network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """What to trace and to prove: the network itself, or a `Subject` where it takes keyword arguments or where
    putting its outermost module alone into train mode gives more outputs, the same each time."""
    modes = {module: module.training for module in network.modules()}
    try:
        plain = Subject(network, kwargs or {}, auxiliary=False)
        whole = Subject(network, kwargs or {}, auxiliary=True)
        if _has_more(plain, whole, example_inputs):
            return whole
        return plain if kwargs else network
    finally:
        for module, mode in modes.items():
            module.training = mode


def _has_more(plain: Subject, whole: Subject, inputs: Sequence[Any]) -> bool:
    few = _run(plain, inputs)
    try:
        many, again = _run(whole, inputs), _run(whole, inputs)
    except Exception:  # a network may do anything in a mode that nobody asked for
        return False
    return len(many) > len(few) and all(torch.equal(a, b) for a, b in zip(many, again, strict=True))


def _run(network: nn.Module, inputs: Sequence[Any]) -> list[torch.Tensor]:
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(network.eval()(*inputs)) if isinstance(leaf, torch.Tensor)]
