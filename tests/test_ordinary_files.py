"""Files as people have them: every one computes here what it computes in torch.

The oracle is `load_state_dict(strict=True)` of the weights that the file is made from, and a forward pass.
"""

import argparse
import collections
import dataclasses
import enum
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import starcli as sc

Write = Callable[[nn.Module, pathlib.Path], pathlib.Path]


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10)
    )


class Tied(nn.Module):
    """An autoencoder-like head: one matrix under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.read, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.head.weight = self.read.weight
        self.out = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.head(self.read(self.inner(images.flatten(1)).relu()).relu()))


class Scaled(nn.Module):
    """A scalar, a mask, a table that is not saved, and state that is not a tensor's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(64, 10), nn.Parameter(torch.tensor(1.5))
        self.register_buffer("mask", torch.arange(64) % 3 > 0)
        self.register_buffer("table", torch.linspace(0, 1, 64), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * self.layer((images.flatten(1) + self.table) * self.mask)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images[:, 0]
        return self.out((rows + self.attention(rows, rows, rows)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(8, 7, batch_first=True), nn.Linear(7, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.cells(images[:, 0])[0][:, -1])


def new_weight_norm() -> nn.Module:
    from torch.nn.utils.parametrizations import weight_norm

    return nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(64, 12)), nn.Tanh(), nn.Linear(12, 10))


def spectral() -> nn.Module:
    from torch.nn.utils.parametrizations import spectral_norm

    return nn.Sequential(nn.Flatten(), spectral_norm(nn.Linear(64, 12)), nn.ReLU(), nn.Linear(12, 10))


# -- what the programs of people write ---------------------------------------------------------------------------------


class Mode(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    name: str = "run"


def pickled(content: Callable[[dict[str, Tensor]], Any], name: str = "file.pt", **options: Any) -> Write:
    def write(network: nn.Module, place: pathlib.Path) -> pathlib.Path:
        torch.save(content(network.state_dict()), place / name, **options)
        return place / name

    return write


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def averaged(network: nn.Module, place: pathlib.Path) -> pathlib.Path:
    """AveragedModel of one update: its average is the network."""
    found = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    found.update_parameters(network)
    torch.save({"model": found.state_dict(), "step": 3}, place / "swa.pth")
    return place / "swa.pth"


def tied_once(network: nn.Module, place: pathlib.Path) -> pathlib.Path:
    save_model(network, str(place / "tied.safetensors"))
    return place / "tied.safetensors"


def tied_other_name(network: nn.Module, place: pathlib.Path) -> pathlib.Path:
    state = {name: value.clone() for name, value in network.state_dict().items() if name != "read.weight"}
    save_file(state, place / "tied.safetensors", metadata={"format": "pt"})
    return place / "tied.safetensors"


def in_shards(network: nn.Module, place: pathlib.Path) -> pathlib.Path:
    """As transformers' PyTorch shards: an index beside them."""
    state, where = network.state_dict(), {}
    for number, (name, value) in enumerate(state.items()):
        file = f"pytorch_model-{number % 3 + 1:05d}-of-00003.bin"
        where[name] = file
        held = torch.load(place / file) if (place / file).exists() else {}
        torch.save({**held, name: value}, place / file)
    index = place / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


def one_storage(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """All parameters as views of one vector, as flat optimisers leave them."""
    flat, found, begin = torch.cat([value.flatten().float() for value in state.values()]), {}, 0
    for name, value in state.items():
        found[name] = flat[begin : begin + value.numel()].view(value.shape)
        begin += value.numel()
    return found


FILES: dict[str, tuple[Callable[[], nn.Module], Write]] = {
    "state dict": (plain, pickled(lambda s: s)),
    "legacy file": (plain, pickled(lambda s: s, _use_new_zipfile_serialization=False)),
    "parameters": (plain, pickled(lambda s: {k: nn.Parameter(v) for k, v in s.items()})),
    "DataParallel": (with_batch_norm, pickled(lambda s: {"net": prefixed("module.", s), "acc": 93.1, "epoch": 4})),
    "compiled, distributed": (plain, pickled(lambda s: prefixed("module._orig_mod.", s))),
    "distributed, compiled": (plain, pickled(lambda s: {"model": prefixed("_orig_mod.module.", s)})),
    "Lightning": (
        with_batch_norm,
        pickled(
            lambda s: {
                "epoch": 3,
                "global_step": 40,
                "pytorch-lightning_version": "2.4.0",
                "state_dict": {
                    **prefixed("model.", s),
                    "criterion.weight": torch.ones(10),
                    "val_acc.tp": torch.zeros(10, dtype=torch.int64),
                },
                "loops": {"fit_loop": {"state_dict": {}}},
                "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3), "dirpath": pathlib.Path("x")}},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(12, 64)}}, "param_groups": []}],
                "lr_schedulers": [],
                "hyper_parameters": argparse.Namespace(lr=0.1),
            },
            "last.ckpt",
        ),
    ),
    "timm": (
        plain,
        pickled(
            lambda s: {
                "epoch": 9,
                "arch": "x",
                "state_dict": s,
                "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(12, 64)}}},
                "version": 2,
                "args": argparse.Namespace(model="x", lr=0.1),
                "state_dict_ema": {k: v + 1 for k, v in s.items()},
                "metric": np.float64(0.9),
            },
            "model_best.pth.tar",
        ),
    ),
    "objects beside": (
        plain,
        pickled(
            lambda s: {
                "model_state_dict": s,
                "settings": Settings(),
                "mode": Mode.FAST,
                "counts": collections.Counter("abca"),
                "history": collections.defaultdict(list, loss=[0.3, 0.2]),
                "random": np.random.RandomState(0).get_state(),
                "lr": np.float32(0.1),
                "where": pathlib.PurePosixPath("runs/1"),
            }
        ),
    ),
    "numbers among the tensors": (
        with_batch_norm,
        pickled(lambda s: {**s, "epoch": 3, "best": 0.9, "name": "x", "none": None}),
    ),
    "nested": (plain, pickled(lambda s: {"checkpoint": 1, "model": {"state_dict": collections.OrderedDict(s)}})),
    "AveragedModel": (with_batch_norm, averaged),
    "tied, written once": (Tied, tied_once),
    "tied, the other name": (Tied, tied_other_name),
    "tied, both names": (Tied, pickled(lambda s: s)),
    "shards": (with_batch_norm, in_shards),
    "half": (with_batch_norm, pickled(lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()})),
    "double": (plain, pickled(lambda s: {k: v.double() for k, v in s.items()})),
    "no counter of batches": (
        with_batch_norm,
        pickled(lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}),
    ),
    "a scalar of one dimension": (Scaled, pickled(lambda s: {**s, "scale": s["scale"].reshape(1)})),
    "old names of weight_norm": (
        new_weight_norm,
        pickled(
            lambda s: {
                k.replace("parametrizations.weight.original0", "weight_g").replace(
                    "parametrizations.weight.original1", "weight_v"
                ): v
                for k, v in s.items()
            }
        ),
    ),
    "views of one storage": (plain, pickled(one_storage)),
    "strides of its own": (
        with_batch_norm,
        pickled(lambda s: {k: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in s.items()}),
    ),
    "transposed": (plain, pickled(lambda s: {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in s.items()})),
    "attention": (Attending, pickled(lambda s: {"module": s})),
    "recurrent": (Recurrent, pickled(lambda s: prefixed("network.", s))),
    "spectral norm": (spectral, pickled(lambda s: {"weights": s})),
}


def trained_like(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose parameters and statistics are all generic."""
    torch.manual_seed(seed)
    network = build()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not name.endswith(("_u", "_v")):
                value.add_(torch.rand(value.shape) * 0.2 + 0.01)
    if build is spectral:
        network(torch.rand(8, 1, 8, 8))  # its power iteration goes on with the new weights
    return network.eval()


@pytest.mark.filterwarnings("ignore::starcli.library.notes.StarcliWarning")
@pytest.mark.parametrize("what", FILES)
def test_it_computes_what_it_computes_in_torch(what: str, tmp_path: pathlib.Path) -> None:
    build, write = FILES[what]
    network = trained_like(build, 3)
    file = write(network, tmp_path)
    if what == "half":
        network = network.half().float()
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(64) % 10
    with torch.no_grad():
        logits = network(images)
    [row] = sc.evaluate(sc.load(file), arch=build, data=(images, labels))
    expected = float(nn.functional.cross_entropy(logits.double(), labels))
    assert row["nll"] == pytest.approx(expected, rel=1e-6)
    assert row["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
