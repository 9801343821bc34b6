"""What tracing a network finds out: labels of the positions of its parameters, and which of them operators read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256

import numpy as np
from torch import Tensor, nn

from starcli.models.spectral_norm import spectral_vector_names
from starcli.symmetry.derive.atoms import AtomLabels, Atoms
from starcli.symmetry.derive.call import Parameter
from starcli.symmetry.derive.joint import JointAxes, jointly_told
from starcli.symmetry.derive.rules.contraction import grouped_inputs
from starcli.symmetry.derive.values import Value, varies

_STATISTICS = ("*running_mean", "*running_var", "*expert_bias", "*e_score_correction_bias")
"""Patterns of the buffers that are labelled as parameters are: what training finds out of each unit, of each expert."""


@dataclass
class Trace:
    """Everything that tracing a network found out."""

    atoms: Atoms = field(default_factory=Atoms)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    """Every parameter and running statistic, by its first name."""
    same: dict[str, str] = field(default_factory=dict)
    """Every name of a tensor -> its first name (tied parameters have several)."""
    notes: list[str] = field(default_factory=list)
    """Operators without a rule, each with its source line."""
    step: int = 0
    pieces: dict[str, list[AtomLabels]] = field(default_factory=dict)
    """For parameters of which only pieces are read (rows of position embeddings), the atoms that are."""
    whole: set[str] = field(default_factory=set)
    """Parameters that some operator takes as a whole."""
    stacks: dict[str, int] = field(default_factory=dict)
    """The names of stacks of tensors of a list of modules, and how many each has (see `members.py`)."""
    lists: dict[str, AtomLabels] = field(default_factory=dict)
    """The atoms of the members of each list of modules, by its name."""
    alike: set[tuple[str, int]] = field(default_factory=set)
    """Axes, told by another one too, whose units were made to move alike whatever that one says."""

    def unread(self) -> Iterator[tuple[str, AtomLabels]]:
        """For each parameter the atoms that no operator reads."""
        for name, parameter in self.parameters.items():
            if name not in self.whole:
                read = np.concatenate([np.empty(0, dtype=np.int64), *self.pieces.get(name, ())])
                for factor in parameter.value.factors:
                    yield name, factor[~np.isin(factor, read)]


def start(network: nn.Module, joint: Mapping[str, JointAxes], cut: Mapping[str, int]) -> Trace:
    """A trace in which nothing has happened yet: every axis of every parameter has fresh atoms.

    `joint` has the axes that are told together, of parameters by name, and `cut` into how many parts others fall.
    """
    trace = Trace()
    tensors: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    vectors, grouped = spectral_vector_names(network), _grouped_kernels(network)
    kept, told = network.state_dict(keep_vars=True), {}
    for name, tensor in network.named_buffers(remove_duplicate=False):
        if tensor.is_floating_point() and (name in vectors or any(fnmatchcase(name, each) for each in _STATISTICS)):
            tensors[name] = tensor
        elif tensor.is_floating_point() and name in kept:
            told[name] = {axis: _alike_along(tensor, axis) for axis, n in enumerate(tensor.shape) if n > 1}
            if any(len(parts) < tensor.shape[axis] for axis, parts in told[name].items()):
                tensors[name] = tensor
    first: dict[int, str] = {}
    for name, tensor in tensors.items():
        trace.same[name] = first.setdefault(id(tensor), name)
        if trace.same[name] != name:
            continue
        shape = tuple(tensor.shape)
        factors = list(jointly_told(trace.atoms, shape, joint.get(name, frozenset())))
        if name in grouped and shape[1] > 1:
            factors[shape[0] > 1] = grouped_inputs(trace.atoms, shape, grouped[name])
        elif name in cut and name not in joint:
            inner = trace.atoms.new(cut[name] * shape[1]).reshape(cut[name], shape[1], *[1] * (len(shape) - 2))
            factors[1] = inner.repeat(shape[0] // cut[name], 0)
        parts = cut.get(name, 1) if name not in joint and name not in grouped else 1
        trace.parameters[name] = Parameter(name, Value(shape, tuple(factors)), parts=parts)
        for axis, alike in told.get(name, {}).items():
            for factor in trace.parameters[name].value.along(axis) if len(alike) > 1 else ():
                if varies(factor) == (axis,):
                    trace.atoms.tell_apart([factor.take(each, axis) for each in alike], f"the constant {name}")
                else:
                    trace.atoms.pin(factor, f"the constant {name}")
    return trace


def _alike_along(tensor: Tensor, axis: int) -> list[list[int]]:
    """The positions of an axis of a buffer, those with the same values together: only such may change places.

    Masks of one value at first are told apart by training or pruning as units are: they go with these as parameters do.
    """
    n = tensor.shape[axis]
    if tensor.is_meta:
        return [[i] for i in range(n)]
    if bool((tensor == tensor.select(axis, 0).unsqueeze(axis)).all()):
        return [list(range(n))]
    found: dict[bytes, list[int]] = {}
    for i, values in enumerate(tensor.detach().cpu().unbind(axis)):
        found.setdefault(sha256(values.double().numpy().tobytes()).digest(), []).append(i)
    return list(found.values())


def _grouped_kernels(network: nn.Module) -> dict[str, int]:
    """Parameters that normalised kernels of grouped convolutions are made from, and the number of groups of each."""
    found = {}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
            for name, parameter in module.named_parameters(prefix):
                if name.rpartition(".")[2] != "weight" and parameter.dim() > 1 and len(parameter) > 1:
                    found[name] = module.groups
    return found
