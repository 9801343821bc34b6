"""Networks under spectral normalisation, in both of torch's styles, and what they compute by the definition."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from starcli.library.networks import network_copies
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given
from starcli.workspace.workspace import Workspace, new_workspace

STYLES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "old": nn.utils.spectral_norm,
    "new": parametrizations.spectral_norm,
}
ORIGINAL = {"old": "weight_orig", "new": "parametrizations.weight.original"}
VECTORS = {"old": ("weight_u", "weight_v"), "new": ("parametrizations.weight.0._u", "parametrizations.weight.0._v")}


def spectral_network(style: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Convolutions, one transposed, with a BatchNorm between and a plain last layer."""
    layers = [style(nn.Conv2d(1, 6, 3)), nn.BatchNorm2d(6), nn.ReLU(), style(nn.ConvTranspose2d(6, 4, 3)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), style(nn.Linear(256, 12)), nn.ReLU(), nn.Linear(12, 10))


NORMALISED = {"0": 0, "3": 1, "6": 0}
"""Names of normalised layers, and the axis of each one's outputs."""


def spectral_workspace(style: str, *, average_buffers: bool = False, limit: int = 120) -> Workspace:
    """A workspace of such networks on a few digits."""
    choices = Choices(data="digits", limit=limit, device="cpu", average_buffers=average_buffers)
    return new_workspace(choices, Given(builder=network_copies(lambda: spectral_network(STYLES[style]))))


def plain_network(style: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The same network without normalisation, its weights W / sigma by a singular value decomposition."""
    network = spectral_network(lambda layer: layer)
    state = {name: tensors[name] for name in network.state_dict() if name in tensors}
    for layer, axis in NORMALISED.items():
        weight = tensors[f"{layer}.{ORIGINAL[style]}"]
        sigma = torch.linalg.matrix_norm(weight.movedim(axis, 0).flatten(1), 2)
        state[f"{layer}.weight"] = weight / sigma
    network.load_state_dict(state)
    return network
