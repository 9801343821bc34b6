"""Networks whose lists of modules keep their tensors in stacks, as specs with stacks see them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from starcli.models.copies import copy_network
from starcli.symmetry.archspec.resolved import Resolved


def with_stacks(network: nn.Module, spec: Resolved) -> nn.Module:
    """A copy of a network whose state dict has the names of `spec`, those of its stacks.

    The copy computes the same function of its state dict; what a stack holds is differentiated as one tensor.

    >>> import torch
    >>> from starcli.symmetry.archspec.resolve import resolve_for
    >>> from starcli.symmetry.archspec.spec import parse
    >>> network = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3)])
    >>> network.forward = lambda x: network[0](x) + network[1](x)
    >>> spec = resolve_for(network, parse("{format: 1, tensors: {'[].weight': [e], '[].bias': [e]}}"))
    >>> {name: tuple(tensor.shape) for name, tensor in with_stacks(network, spec).state_dict().items()}
    {'[].bias': (2, 3), '[].weight': (2, 3, 2)}
    """
    copy = copy_network(network)
    lent = _Lent(copy, spec.stacks)
    copy.register_forward_pre_hook(lent.lend)
    copy.register_forward_hook(lent.take_back, always_call=True)
    return copy


class _Lent:
    """Hooks of a network that put the parts of its stacks where its modules look for them, while it runs."""

    def __init__(self, network: nn.Module, stacks: Mapping[str, tuple[str, ...]]) -> None:
        self.members = stacks
        for stack, names in stacks.items():
            _stack(network, stack, names)

    def lend(self, network: nn.Module, args: Any) -> None:
        """Give every module its part, a view."""
        for stack, names in self.members.items():
            whole: Any = network._parameters.get(stack, network._buffers.get(stack))
            for i, name in enumerate(names):
                module, leaf = _owner(network, name)
                setattr(module, leaf, whole[i])

    def take_back(self, network: nn.Module, args: Any, outputs: Any) -> None:
        """Leave no part behind."""
        for names in self.members.values():
            for name in names:
                module, leaf = _owner(network, name)
                module.__dict__.pop(leaf, None)


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return network.get_submodule(path), leaf


def _stack(network: nn.Module, stack: str, names: tuple[str, ...]) -> None:
    """Move the tensors `names` of a network into one of its own."""
    found: list[Tensor] = []
    for name in names:
        module, leaf = _owner(network, name)
        where = module._parameters if leaf in module._parameters else module._buffers
        found.append(where.pop(leaf))  # type: ignore[arg-type]
    whole = torch.stack([each.detach() for each in found])
    # past register_parameter, which allows no dots in names: these are names in a state dict
    if isinstance(found[0], nn.Parameter):
        network._parameters[stack] = nn.Parameter(whole, requires_grad=found[0].requires_grad)
    else:
        network._buffers[stack] = whole
