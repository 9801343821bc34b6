"""Buffers at a point between models: which are computed anew there, and which differ and may not be averaged.

A mean of weights is a point of weight space; a mean of codebooks, of a quantiser's scales or of pruning masks is
nothing that any network would have.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, few
from starcli.evaluation.batchnorm_statistics import has_batch_statistics, statistics_names
from starcli.models.flat_network import FlatNetwork
from starcli.models.spectral_norm import spectral_vector_names
from starcli.models.state_dicts import computable
from starcli.runtime.progress import Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

TABLE_ROUNDING = 1e-5
"""Tables that differ by less than this part of their largest entry are the same, computed on two machines."""


def recomputed_buffers(network: nn.Module) -> set[str]:
    """Names of the buffers that weights and data decide, and that are computed anew at a point between models.

    They are the statistics of BatchNorm and InstanceNorm, and the vectors of spectral norms.

    >>> sorted(recomputed_buffers(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
    ['1.running_mean', '1.running_var']
    """
    return statistics_names(network) | spectral_vector_names(network)


def differing_buffers(flat: FlatNetwork, models: Iterable[Mapping[str, Tensor]]) -> list[str]:
    """Names of buffers in which `models` differ by more than rounding, and which are not computed anew.

    Of integers and truth values those of several numbers, as masks; single ones count steps.
    """
    recomputed = recomputed_buffers(flat.network)
    kept = {name for name, _ in flat.network.named_buffers(remove_duplicate=False)} | flat.extra_state.keys()
    own = flat.buffers | flat.extra_state
    named = {name: tensor for name, tensor in own.items() if name in kept - recomputed}
    names = [name for name, tensor in named.items() if tensor.is_floating_point() or tensor.numel() > 1]
    first: dict[str, Tensor] = {}
    differing = set()
    for model in models if names else ():  # one after the other: there may be many, and large ones
        found = {name: model[name] for name in names}
        first = first or found
        differing |= {name for name in names if _differ(first[name], found[name])}
    return [name for name in names if name in differing]


def _differ(first: Tensor, other: Tensor) -> bool:
    if not first.is_floating_point():
        return not torch.equal(first, other)
    first, other = computable(first).double(), computable(other).double()
    scale = float(first[first.isfinite()].abs().max()) if first.isfinite().any() else 0.0
    return not torch.allclose(first, other, rtol=TABLE_ROUNDING, atol=TABLE_ROUNDING * scale, equal_nan=True)


def admit_buffers(flat: FlatNetwork, models: Iterable[Mapping[str, Tensor]], *, average: bool | None) -> list[str]:
    """Check that points between `models` have buffers; names of those in which they differ and which are averaged.

    Raises StarcliError where there are such buffers, unless they are to be averaged (`average`; None: that cannot be
    chosen).
    """
    names = differing_buffers(flat, models)
    if names and not average:
        owners = [(name, type(flat.network.get_submodule(name.rpartition(".")[0])).__name__) for name in names]
        hint = "--average-buffers averages them like weights"
        if not all(_is_float(flat, name) for name in names):
            hint += "; integers are then the first model's"
        raise StarcliError(
            "the models differ in buffers of which a point between them has none of its own",
            [f"{name}, of {owner}" for name, owner in owners] + ([] if average is None else [hint]),
        )
    return names


def admit_points(
    workspace: "Workspace", flat: FlatNetwork, models: Iterable[Mapping[str, Tensor]], what: str, progress: Progress
) -> None:
    """Check, before any training, that `what` is trained on points between `models` can have buffers."""
    if len(workspace.dataset.train) == 1 and has_batch_statistics(flat.network):
        raise StarcliError(f"the BatchNorm statistics of {what} need at least 2 training examples, found 1")
    differing = admit_buffers(flat, models, average=workspace.average_buffers)
    if averaged := [name for name in differing if _is_float(flat, name)]:
        progress.note(f"averaged like weights: {few(averaged, 3)}")


def _is_float(flat: FlatNetwork, name: str) -> bool:
    return (flat.buffers | flat.extra_state)[name].is_floating_point()
