"""Networks whose state dicts have rules of their own: ties, views, hooks for old names, versions, extra state."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Inputs (N, 6) to outputs (N, 3) through the module `part`."""

    def __init__(self, part: nn.Module, out: int = 6) -> None:
        super().__init__()
        self.part, self.head = part, nn.Linear(out, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.tanh(self.part(x)))
        return found


class TiedParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6, bias=False), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.b(torch.relu(self.a(x)))
        return found


class TiedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.b(torch.relu(self.a(x)))
        return found


class View(nn.Module):
    """A buffer that is a part of a parameter, and another that is all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.register_buffer("row", self.a.weight.data[2])
        self.register_buffer("same", self.a.bias.data)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.a(x) + self.row + self.same
        return found


class Transposed(nn.Module):
    """A decoder whose parameter is the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 4, bias=False)
        self.b = nn.Parameter(self.a.weight.data.t())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.relu(self.a(x)) @ self.b.t()
        return found


class Scalars(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("count", torch.tensor(4))
        self.register_buffer("mask", torch.tensor([True, False, True, True, True, False]))
        self.register_buffer("table", torch.arange(6, dtype=torch.int32))
        self.register_buffer("kept", torch.ones(6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x * self.mask)[:, self.table.long()] + self.count * self.kept


class OldNames(nn.Module):
    """Renames what an older version of it called otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if prefix + "w" in state_dict:
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Versioned(nn.Module):
    """Version 1 kept the weight transposed, and halved."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any) -> None:
        if local_metadata.get("version", 1) < 2 and prefix + "weight" in state_dict:
            state_dict[prefix + "weight"] = 2 * state_dict[prefix + "weight"].t()
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class InPlace(nn.Module):
    """A hook that writes into what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.register_load_state_dict_pre_hook(self._doubled)

    @staticmethod
    def _doubled(module: Any, state_dict: Any, prefix: str, metadata: Any, *_: Any) -> None:
        if prefix + "weight" in state_dict and metadata.get("version") is None:
            state_dict[prefix + "weight"].mul_(2)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Forgiving(nn.Module):
    """Takes a missing gain for one, and drops what it used to have."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(6))
        self.register_load_state_dict_post_hook(self._forgive)

    def _forgive(self, _: Any, keys: Any) -> None:
        for names in (keys.missing_keys, keys.unexpected_keys):
            names[:] = [name for name in names if not name.endswith(("gain", "old"))]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Extra(nn.Module):
    """State of its own that is a tensor and no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.a = 1.0, nn.Linear(6, 6)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.shift)

    def set_extra_state(self, state: Any) -> None:
        self.shift = float(state)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.a(x) + self.shift
        return found


class Optional(nn.Module):
    """Of a part that is not there torch takes any tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.a: nn.Module = nn.Linear(6, 6)
        self.down: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.a(x)
        return found


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None].expand(-1, 3, -1)
        found: Tensor = self.attention(x, x, x, need_weights=False)[0].sum(1)
        return found


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.cell(x[:, None])[0][:, 0]
        return found


def old_weight_norm(layer: nn.Module, **options: object) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it old
        return nn.utils.weight_norm(layer, **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 6),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)),
    "batch norm without statistics": lambda: nn.Sequential(
        nn.Linear(6, 6), nn.BatchNorm1d(6, track_running_stats=False)
    ),
    "instance norm": lambda: nn.Sequential(nn.Unflatten(1, (3, 2)), nn.InstanceNorm1d(3, True, True), nn.Flatten()),
    "layer norm": lambda: nn.LayerNorm(6),
    "tied parameter": TiedParameter,
    "tied module": TiedModule,
    "view": View,
    "transposed": Transposed,
    "scalars": Scalars,
    "old names": OldNames,
    "versioned": Versioned,
    "in place": InPlace,
    "forgiving": Forgiving,
    "extra state": Extra,
    "optional": Optional,
    "attention": Attention,
    "recurrent": Recurrent,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
    "old weight norm": lambda: old_weight_norm(nn.Linear(6, 6)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)),
    "prelu": lambda: nn.Sequential(nn.Linear(6, 6), nn.PReLU()),
}


def made(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Net(NETWORKS[name]()).eval()
