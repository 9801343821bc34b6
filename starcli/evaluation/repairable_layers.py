"""Which layers of a network REPAIR can restore: found by one forward pass, and each proved by two at generic weights.

A layer's units are scaled by its weight and shifted by its bias; without a bias they are scaled alone. It is repaired
where

- it is a `Linear` or a convolution of torch's own, with learnable tensors that no other module has too, called once in
  a forward pass;
- its outputs are read by a nonlinearity and by nothing but elementwise operators. That leaves out layers before a
  norm, which undoes or redoes what a repair would do, those that write to a residual stream, and the projections of
  attention;
- or its outputs are the logits, where these are asked for;
- and scaling its weight and bias does to the network's outputs what scaling the layer's outputs does. That leaves out
  weights that are used elsewhere too, and those that are computed from others. At initialisation it would prove
  nothing of layers before a head, or a gate, of zeros.

Projections of attention and layers of the residual stream were tried, in small vision transformers of the digits: of
six pairs that share their first epoch, and of a star with three sources, the mean barriers were 0.066 and 0.80, with
the hidden units repaired 0.063 and 0.82, with queries, keys and values 0.070 and 1.04, with all of them 0.064 and 1.23.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from starcli.errors import StarcliError, few
from starcli.evaluation.batchnorm_folding import FOLDING_EXAMPLES, LAYERS, SAME
from starcli.evaluation.batchnorm_statistics import batch_norms
from starcli.evaluation.renormalise import Renormalise
from starcli.models.modes import modes_restored, plain_attention, set_eval_
from starcli.runtime.device import float64
from starcli.runtime.dispatch_mode import DispatchMode
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.proof.generic import GenericNetwork, at_generic_weights

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

_RESHAPING = frozenset(
    {
        *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand"),
        *("clone", "_to_copy", "detach", "alias", "dropout", "native_dropout"),
        *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    }
)
"""ATen operators whose outputs are the units that they are given, and nothing else."""

_AFFINE = frozenset({"add", "sub", "rsub", "mul", "div", "neg", "lerp", "addcmul", "addcdiv", "where", "masked_fill"})
"""Pointwise ATen operators that are no nonlinearity."""

_UNTAGGED = frozenset({"hardswish", "log_sigmoid_forward", "_prelu_kernel", "rrelu_with_noise"})
"""Nonlinearities that ATen does not tag as pointwise."""


@dataclass(frozen=True)
class RepairableLayer:
    """A layer whose units can be restored.

    norm_follows: whether a BatchNorm is called between it and the next such layer, or after the last one; its
    statistics are then others once this layer is repaired. is_last: whether its outputs are the network's.
    """

    name: str
    norm_follows: bool
    is_last: bool

    def units(self, output: Tensor, layer: nn.Module) -> Tensor:
        """Outputs of the layer as (positions, units)."""
        last = output if isinstance(layer, nn.Linear) else output.movedim(1, -1)
        return last.reshape(-1, last.shape[-1])


def repairable_layers(network: nn.Module, inputs: Tensor, how: Renormalise) -> list[RepairableLayer]:
    """The layers that `how` has repaired, in the order in which some of the batch `inputs` call them.

    Raises StarcliError where the logits are to be, and are not the outputs of a layer that can be.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    >>> [layer.name for layer in repairable_layers(network, torch.rand(5, 4), Renormalise("repair", logits=True))]
    ['0', '4']
    """
    inputs = inputs[:FOLDING_EXAMPLES]
    with modes_restored(network), torch.no_grad(), plain_attention():
        set_eval_(network)
        seen = _Readers()
        calls = _called(network, inputs, seen)
        once = [name for name in calls if name is not None and calls.count(name) == 1]
        wanted = [name for name in once if _is_wanted(seen, name, how)]
        found = _proved(network, wanted, inputs)
    if how.logits and seen.last not in found:
        hint = "they have to be the outputs of one linear layer or convolution, called once, with weights of its own"
        raise StarcliError("--renormalise-logits: this network's logits cannot be restored", [hint])
    order = [name for name in calls if name is None or name in found]
    return [
        RepairableLayer(name, order[order.index(name) + 1 :][:1] == [None], is_last=name == seen.last) for name in found
    ]


def layers_to_repair(workspace: "Workspace", how: Renormalise, progress: Progress = SILENT) -> list[RepairableLayer]:
    """`repairable_layers` of a workspace's network on its training examples; a note where there are none."""
    if not how.active:
        return []
    inputs, _ = next(iter(workspace.dataset.train.batches(FOLDING_EXAMPLES, device=workspace.device)))
    found = repairable_layers(workspace.network(seed=0).network, inputs, how)
    if not found:
        progress.note("repair changes nothing here: no layer is followed by a nonlinearity without a norm between")
    return found


def note_repaired(workspace: "Workspace", how: Renormalise, progress: Progress) -> None:
    """Note which layers are repaired. Raises StarcliError, before any work, where the logits cannot be."""
    if layers := layers_to_repair(workspace, how):
        progress.note(said_of(layers))


def said_of(layers: Sequence[RepairableLayer]) -> str:
    """Which layers are repaired, in words.

    >>> said_of([RepairableLayer("fc1", norm_follows=False, is_last=False), RepairableLayer("fc2", False, True)])
    'repaired: fc1 and the logits, of fc2'
    """
    hidden = [layer.name for layer in layers if not layer.is_last]
    logits = [f"the logits, of {layer.name}" for layer in layers if layer.is_last]
    return "repaired: " + " and ".join(([few(hidden, 6)] if hidden else []) + logits)


def _is_wanted(seen: "_Readers", name: str, how: Renormalise) -> bool:
    """Whether a layer is read as the layers are that are to be repaired."""
    if name == seen.last:
        return how.logits
    return how.method == "repair" and "nonlinear" in seen.kinds[name] and seen.kinds[name] <= {"nonlinear", "affine"}


def _candidates(network: nn.Module) -> dict[str, nn.Module]:
    """Layers that hold a weight of their own, not computed from others, all of whose tensors are learnable.

    No other module holds one of their tensors, which a fold of one layer would change in the other.
    """
    holders = Counter(id(tensor) for module in network.modules() for tensor in module._parameters.values())
    return {
        name: module
        for name, module in network.named_modules()
        if type(module) in LAYERS
        and module._parameters.get("weight") is not None
        and all(tensor.requires_grad and holders[id(tensor)] == 1 for tensor in module.parameters())
    }


def _called(network: nn.Module, inputs: Tensor, seen: "_Readers") -> list[str | None]:
    """Names of candidates in the order of their calls, None for each call of a norm; `seen` learns who reads them."""
    calls: list[str | None] = []

    def leave(name: str | None, module: nn.Module, arguments: Sequence[Any], output: Any) -> None:
        calls.append(name)
        if name is not None:
            seen.watch(name, output)

    with ExitStack() as stack:
        for name, module in _candidates(network).items():
            stack.callback(module.register_forward_hook(partial(leave, name)).remove)
        for norm in batch_norms(network):
            stack.callback(norm.register_forward_hook(partial(leave, None)).remove)
        with seen:
            seen.last = seen.owner(network(inputs))
    return calls


class _Readers(DispatchMode):  # type: ignore[no-untyped-call]
    """Mode that notes which kinds of operators read the outputs of layers.

    kinds: of each layer, "nonlinear", "affine" or "other". last: the layer whose outputs are the network's.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: dict[str, set[str]] = {}
        self.last: str | None = None
        self._owners: dict[int, tuple[str, Tensor]] = {}  # with the tensor, so that no other gets its id

    def watch(self, name: str, output: Any) -> None:
        """Note what reads `output`, of the layer `name`, from here on."""
        self.kinds.setdefault(name, set())
        self._owners |= {id(leaf): (name, leaf) for leaf in tree_leaves(output) if isinstance(leaf, Tensor)}

    def owner(self, tensor: object) -> str | None:
        """Name of the layer whose output a tensor is."""
        found = self._owners.get(id(tensor))
        return None if found is None else found[0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs)):
            name = self.owner(leaf) if isinstance(leaf, Tensor) else None
            if name is None:
                continue
            kind = _kind(func)
            if kind == "reshaping":
                self.watch(name, result)
                continue
            self.kinds[name].add(kind)
            if result is leaf:  # in place: the tensor is the layer's output no longer
                del self._owners[id(leaf)]
        return result


def _kind(func: Any) -> str:
    """What an ATen operator does with the units that it is given."""
    name = func.overloadpacket.__name__.removesuffix("_")
    if name in _RESHAPING:
        return "reshaping"
    if name in _AFFINE:
        return "affine"
    return "nonlinear" if name in _UNTAGGED or torch.Tag.pointwise in func.tags else "other"


def _proved(network: nn.Module, names: Sequence[str], inputs: Tensor) -> list[str]:
    """The names of those layers whose outputs are scaled and shifted where their weight and bias are."""
    if not names:
        return []
    generic = at_generic_weights(network, [inputs.cpu()], torch.Generator().manual_seed(0))
    plain = _outputs(generic)
    return [name for name in names if _is_affine(generic, plain, name)]


def _is_affine(generic: GenericNetwork, plain: Tensor, name: str) -> bool:
    """Whether to scale and shift weight and bias does to the outputs, now `plain`, what scaling the layer's does."""
    layer: Any = generic.subject.network.get_submodule(name)
    generator = torch.Generator().manual_seed(0)
    scale, shift = 0.5 + torch.rand(2, len(layer.weight), generator=generator, dtype=torch.float64)
    shift = shift if layer.bias is not None else torch.zeros_like(shift)

    def scaled(module: nn.Module, arguments: Sequence[Any], output: Tensor) -> Tensor:
        shape = (-1,) if isinstance(module, nn.Linear) else (-1, *[1] * (output.dim() - 2))
        result: Tensor = scale.to(output).view(shape) * output + shift.to(output).view(shape)
        return result

    hook = layer.register_forward_hook(scaled)
    try:
        expected = _outputs(generic)
    finally:
        hook.remove()
    with _folded(layer, scale, shift):
        found = _outputs(generic)
    return float((found - expected).abs().max()) < SAME * float((expected - plain).abs().max())


def _outputs(generic: GenericNetwork) -> Tensor:
    """All outputs for both inputs, in one vector."""
    outputs = [leaf for inputs in generic.inputs for leaf in generic.subject.run(inputs)]
    return torch.cat([leaf.flatten() for leaf in outputs])


@contextmanager
def _folded(layer: Any, scale: Tensor, shift: Tensor) -> Iterator[None]:
    """Context in which a layer is scaled and shifted."""
    kept = [(tensor, tensor.clone()) for tensor in layer.parameters()]
    fold_(layer, scale, shift)
    try:
        yield
    finally:
        for tensor, before in kept:
            tensor.copy_(before)


def fold_(layer: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Scale and shift the units of a layer by its weight W and bias b, in place: s W, and s b + shift.

    A layer without a bias is scaled alone. scale, shift: (units,), float64, in which the products are taken and rounded
    once.
    """
    with torch.no_grad():
        for name, tensor in layer.named_parameters():
            values = float64(tensor)
            values = values * scale.to(values.device).view(-1, *[1] * (values.dim() - 1))
            tensor.copy_(values + shift.to(values.device) if name == "bias" else values)
