"""Models that functions of the library return: checkpoints in memory, with the metadata that their files would have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.hashes import weights_sha256
from starcli.errors import StarcliError
from starcli.models.dtypes import cast_floats_, float_types
from starcli.models.state_dicts import load_state, versions_of
from starcli.workspace.plan import Plan
from starcli.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False, repr=False)
class MadeModel(Checkpoint):
    """A checkpoint in memory, made by a function of the library; it knows the network and data it was made with.

    workspace: these; None where weights were merged without either.
    """

    workspace: Workspace | None = None

    def module(self) -> nn.Module:
        """A new network with these weights, on the CPU, in eval mode: in float64 where they are, else in float32.

        StarcliError where weights were merged without a network.
        """
        if self.workspace is None:
            hint = "network.load_state_dict(model.tensors) puts the weights into one of yours"
            raise StarcliError(f"{self.name} has no network: its weights were merged without one", [hint])
        return network_with(self.tensors, self.workspace)


def network_with(tensors: Mapping[str, Tensor], workspace: Workspace) -> nn.Module:
    """A new network with these weights, on the CPU, in eval mode: in float64 where they are, else in float32."""
    dtype = torch.float64 if "float64" in float_types(tensors) else torch.float32
    network = cast_floats_(workspace.build(), dtype)
    load_state(network, tensors, versions_of(network))
    return network.eval()


_Made = TypeVar("_Made", bound=MadeModel)


def made(
    kind: type[_Made], workspace: Workspace, plan: Plan, tensors: Mapping[str, Tensor], name: str, **more: Any
) -> _Made:
    """A model of `kind` in memory with the metadata of its plan; of `more`, what metadata have goes there."""
    facts = {key: more.pop(key) for key in ("metrics", "statistics", "aligned_to") if key in more}
    tensors, metadata = plan.finish(tensors, **facts)
    metadata = metadata.model_copy(update={"weights_sha256": weights_sha256(tensors)})
    return kind(tensors, metadata, name, workspace=workspace, directory=plan.directory, **more)
