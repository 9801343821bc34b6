"""Tensors that a network computes with but that are not in its state dict, so that no file of its weights has them."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, few
from starcli.models.logits import APART
from starcli.models.modes import modes_restored, set_eval_
from starcli.models.state_dicts import load_state, versions_of
from starcli.runtime.global_generator import generator_borrowed

STEP = 0.1
"""Deviation of what is added to parameters, so that none is zero, as a head may be at first."""


def refuse_outside_state(name: str, network: nn.Module, other: nn.Module, inputs: Tensor) -> None:
    """Refuse a network called `name` whose outputs its state dict does not decide; both are used up.

    network: as it was built. other: the same, of which all that is drawn was drawn by another seed. After a pass of
    `network` in train mode, and with its parameters moved, `other` is given its state dict, and has to compute the
    same. It does not where a constructor draws what it does not register, where a tensor is kept that shares memory
    with a parameter, and where passes in training change what is no buffer. A network that cannot be run so, or that
    returns other outputs each time, is not compared. Parameters are in memory once, but while `other` is built.
    """
    try:
        with modes_restored(network), torch.no_grad(), generator_borrowed():
            _move_(network, inputs)
            one, again = (_outputs(network, inputs) for _ in range(2))
            _give_(network.train(), other)
            two = _outputs(other, inputs)
            comparable = bool(one.isfinite().all()) and torch.equal(one, again) and one.shape == two.shape
            apart = comparable and float((one - two).abs().max()) > APART * float(one.abs().max())
    except Exception:  # a network of the user's own may raise anything, and says so where it is measured
        return
    if apart:
        found = [*unregistered(network)]
        raise StarcliError(
            f"the network {name} computes with what its state dict does not have, and no file of its weights would",
            [f"not in it: {few(found, 5)}"] * bool(found)
            + [
                "self.register_buffer, nn.Parameter and nn.ModuleList keep tensors and modules in it",
                "what is drawn or computed once, or from a parameter, belongs there, or into forward",
            ],
        )


def _move_(network: nn.Module, inputs: Tensor) -> None:
    """A pass in train mode, if there can be one, and a step of all parameters."""
    torch.default_generator.manual_seed(0)
    with contextlib.suppress(Exception):  # it may need more examples
        network.train()(inputs.clone())
    for parameter in network.parameters():
        if parameter.is_floating_point():
            parameter.add_(STEP * torch.randn_like(parameter))


def _give_(network: nn.Module, other: nn.Module) -> None:
    """The state of one network to the other, parameters as `FlatNetwork` has it: others' memory in the same objects."""
    own = dict(network.named_parameters())
    for name, parameter in other.named_parameters():
        parameter.data = own[name].data
    load_state(other, network.state_dict(), versions_of(network))


def _outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    torch.default_generator.manual_seed(0)
    outputs: Tensor = set_eval_(network)(inputs.clone())
    return outputs


def unregistered(network: nn.Module) -> Iterator[str]:
    """Names of tensors and modules in attributes of a network's modules that are not in its state dict.

    >>> network = nn.Linear(2, 3)
    >>> network.table, network.layers = torch.ones(2), [nn.Linear(2, 2)]
    >>> list(unregistered(network))
    ['table', 'layers']
    """
    modules = {id(module) for module in network.modules()}
    own = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    for prefix, module in network.named_modules():
        names = [*module._non_persistent_buffers_set]
        names += [key for key, value in vars(module).items() if key[:1] != "_" and _holds(value, modules, own)]
        yield from (f"{prefix}.{name}".lstrip(".") for name in names)


def _holds(value: object, modules: set[int], own: set[int]) -> bool:
    """Whether an attribute is, or lists, a tensor or module that is not registered."""
    if isinstance(value, list | tuple | dict):
        return any(_holds(each, modules, own) for each in (value.values() if isinstance(value, dict) else value))
    if isinstance(value, nn.Module):
        return id(value) not in modules
    return isinstance(value, Tensor) and id(value) not in own
