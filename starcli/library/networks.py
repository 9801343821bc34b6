"""Networks that callers of the library have in memory: copies of a module, or what a function of theirs builds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, first_line, type_in_words
from starcli.models.copies import copy_network, uncompiled
from starcli.models.dtypes import refuse_unwritable
from starcli.models.initialise import initialised
from starcli.models.state_dicts import load_state, versions_of
from starcli.runtime.global_generator import generator_borrowed
from starcli.symmetry.proof.redraw import fresh_inputs


@dataclass(frozen=True)
class NetworkCopies:
    """Makes copies of a module, or calls a function for new ones; pickled where the module or function can be.

    network: a module, or a function that takes nothing and returns one. frozen: parameters that take no gradient stay
        so; else all are learnable, as a model that is measured or a star needs them.
    """

    network: nn.Module | Callable[[], nn.Module]
    frozen: bool

    def __call__(self, generator: torch.Generator | None) -> nn.Module:
        """A network on the CPU, in float32 and training mode, its weights drawn from `generator` (None: not drawn).

        Raises StarcliError where the function fails or returns no module, and where weights cannot be drawn.
        """
        if not isinstance(self.network, nn.Module):
            made = initialised(self._built, generator or torch.Generator().manual_seed(0))
        else:
            made = copy_network(self.network)
            if generator is not None:
                made = initialised(lambda: _drawn_anew(made), generator)
        made = made.float().cpu().train()
        return made if self.frozen else made.requires_grad_(True)

    def _built(self) -> nn.Module:
        assert not isinstance(self.network, nn.Module)
        name = getattr(self.network, "__name__", type(self.network).__name__)
        try:
            built = self.network()
        except TypeError as error:  # most often: it takes arguments
            raise StarcliError(f"{name} builds no network: it is called without arguments", [str(error)]) from error
        if not isinstance(built, nn.Module):
            raise StarcliError(f"{name} builds no network: it returned {type_in_words(built)}, expected a module")
        built = uncompiled(built)
        _refuse_without_values(built.state_dict(), name)
        return built


def network_copies(network: object, *, frozen: bool = False) -> NetworkCopies:
    """`NetworkCopies` of a module or function; StarcliError for anything else, and for a module without its tensors.

    >>> network_copies(nn.Linear(2, 3))(torch.Generator().manual_seed(0)).weight.shape
    torch.Size([3, 2])
    """
    if isinstance(network, nn.Module):
        network = uncompiled(network)
        tensors_of(network, type(network).__name__)
    elif not callable(network):
        raise StarcliError(
            f"{type_in_words(network)} is no network: expected a name, a module, or a function that builds one"
        )
    return NetworkCopies(network, frozen)


ROUNDING_APART = 1e-3
"""Outputs that differ by more than this part of the largest are those of another network; rounding stays far below."""


def refuse_other_network(own: nn.Module, network: nn.Module, example: Tensor, model: Checkpoint) -> None:
    """Refuse a model that its `own` network does not compute as `network`, which is used up, does with its weights.

    The names and shapes of tensors may be the same where an activation is not. What cannot be run on inputs like
    `example`, or returns no tensor, is not compared.
    """
    load_state(network, model.tensors, versions_of(network))
    inputs, outputs = fresh_inputs(network, (example,), torch.Generator().manual_seed(0)), []
    try:
        for each in (copy_network(own), network):
            with torch.no_grad(), generator_borrowed() as generator:
                generator.manual_seed(0)
                outputs.append(each.float().cpu().eval()(*(tensor.clone() for tensor in inputs)))
    except Exception:  # a network of the caller's own may raise anything, and says so where it is measured
        return
    one, other = outputs
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return
    if one.shape != other.shape or not torch.allclose(one, other, rtol=0, atol=ROUNDING_APART * float(one.abs().max())):
        hint = "models that are measured together are weights of one network; `arch` says which"
        raise StarcliError(f"{model.name} is of another network, whose tensors have the same names", [hint])


def tensors_of(module: nn.Module, name: str) -> Mapping[str, Tensor]:
    """The state dict of a module, called `name`, as `copies_of` has it."""
    state = uncompiled(module).state_dict()
    return copies_of({key: value for key, value in state.items() if isinstance(value, Tensor)}, name)


def copies_of(state: Mapping[str, Tensor], name: str) -> Mapping[str, Tensor]:
    """Copies of tensors on the CPU; StarcliError for those of a model, called `name`, that have no values yet."""
    _refuse_without_values(state, name)
    refuse_unwritable(state, name)
    try:
        return {key: tensor.detach().to("cpu", copy=True) for key, tensor in state.items()}
    except (RuntimeError, NotImplementedError) as error:  # sparse, quantised and other tensors that have no copies
        raise StarcliError(f"{name}: its tensors cannot be read: {first_line(error)}") from error


def _refuse_without_values(state: Mapping[str, Any], name: str) -> None:
    for key, tensor in state.items():
        if isinstance(tensor, Tensor) and (is_lazy(tensor) or tensor.is_meta):
            hint = ["a lazy module has them once it was called on an example"] if is_lazy(tensor) else []
            raise StarcliError(f"{name}: {key} has no values yet (of a lazy module, or on the meta device)", hint)


def _drawn_anew(network: nn.Module) -> nn.Module:
    """`network` with the weights of each module drawn as its `reset_parameters` does."""
    for name, module in network.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise StarcliError(
                f"{name or type(module).__name__}: has parameters, and no reset_parameters to draw them by",
                ["give a function that builds such a network (its class, say) in the place of the module, or as arch"],
            )
    return network
