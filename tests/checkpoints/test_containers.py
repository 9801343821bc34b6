"""What training scripts save: the right weights are found, those of `load_state_dict` of the right dictionary."""

import argparse
import enum
import functools
import os
import types
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from starcli.checkpoints import checkpoint
from starcli.checkpoints.convert import unwrapped
from starcli.checkpoints.state_dict import Pick
from starcli.errors import StarcliError
from starcli.workspace.agreement import fitted


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


def state(seed: int) -> dict[str, Tensor]:
    made = network()
    generator = torch.Generator().manual_seed(seed)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return made.state_dict()


RAW, AVERAGED = state(1), state(2)
"""The weights, and averages of them."""


def under(prefix: str, tensors: dict[str, Tensor] = RAW) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def averaged_model() -> dict[str, Tensor]:
    found = network()
    found.load_state_dict(RAW)
    model = AveragedModel(found)
    model.update_parameters(found)
    return model.state_dict()


def optimizer() -> dict[str, Any]:
    made = network()
    adam = torch.optim.Adam(made.parameters())
    made(torch.ones(2, 5)).sum().backward()
    adam.step()
    return adam.state_dict()


class Phase(enum.Enum):
    TRAIN = "train"


@dataclass
class Config:
    width: int = 4


class Settings(dict[str, Any]):
    """As EasyDict, AttributeDict and others."""


BESIDE = {
    "args": argparse.Namespace(lr=0.1, path=Path("out")),
    "best": np.float64(0.5),
    "history": np.ones(3),
    "config": Config(),
    "phase": Phase.TRAIN,
    "logs": defaultdict(list, {"loss": [1.0]}),
    "place": Path("runs"),
    "collate": functools.partial(max, 3),
    "settings": Settings(width=4),
    "queue": deque([1]),
    "counts": Counter("aab"),
    "names": {"a", "b"},
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "rng": torch.get_rng_state(),
    "python": types.SimpleNamespace(a=1),
    "scheduler": {"last_epoch": 3, "_last_lr": [0.1]},
}

FOUND: dict[str, Any] = {
    "bare": RAW,
    "ordered": OrderedDict(RAW),
    "parameters": {name: nn.Parameter(each) if each.is_floating_point() else each for name, each in RAW.items()},
    "pairs": list(RAW.items()),
    "state_dict": {"state_dict": RAW, "epoch": 3, "optimizer": optimizer()},
    "model_state_dict": {"model_state_dict": RAW, "optimizer_state_dict": optimizer(), "loss": torch.tensor(0.5)},
    "an unusual key": {"theta": RAW, "optim": optimizer(), "step": torch.tensor(3)},
    "nested twice": {"checkpoint": {"model": RAW}, "epoch": 1},
    "nested four times": {"a": {"b": {"c": {"d": RAW}}}},
    "a list": [RAW, optimizer(), 3],
    "objects beside": {"state_dict": RAW, **BESIDE},
    "flat, with numbers": {**RAW, "epoch": 3, "lr": 0.1, "name": "net", "nothing": None, "optimizer": optimizer()},
    "DataParallel": {"model": under("module.")},
    "compiled": {"model": under("_orig_mod.")},
    "several prefixes": under("model._orig_mod.module."),
    "an owner": under("backbone.encoder."),
    "parts compiled, sharded and checkpointed": {
        "0._orig_mod.weight": RAW["0.weight"], "0._orig_mod.bias": RAW["0.bias"],
        **{f"1._fsdp_wrapped_module.{name[2:]}": each for name, each in RAW.items() if name.startswith("1.")},
        "3._checkpoint_wrapped_module.weight": RAW["3.weight"], "3.bias": RAW["3.bias"],
    },
    "AveragedModel": averaged_model(),
    "AveragedModel of a compiled network": {**under("module._orig_mod."), "n_averaged": torch.tensor(3)},
    "averages under a key beside": {"state_dict": RAW, "state_dict_ema": AVERAGED},
    "averages, nested": {"model": RAW, "ema": {"decay": 0.99, "state_dict": AVERAGED}},
    "params and params_ema": {"params": RAW, "params_ema": AVERAGED},
    "averages alone": {"model_ema": RAW, "epoch": 3},
    "averages alone, nested": {"ema": {"updates": 3, "state_dict": RAW}},
    "ema_pytorch": {
        **under("online_model."), **under("ema_model.", AVERAGED), "initted": torch.tensor(True),
        "step": torch.tensor(9),
    },
    "ema_pytorch without the online model": {**under("ema_model."), "initted": torch.tensor(True)},
    "averages in the same dictionary": {**RAW, **under("ema.", AVERAGED)},
    "Lightning": {"state_dict": under("model."), "pytorch-lightning_version": "2.5.0", "callbacks": {}, "loops": {}},
    "Lightning with a loss": {"state_dict": {**under("model."), "criterion.weight": torch.ones(3)}},
    "Lightning with metrics": {"state_dict": {**under("net."), "acc.tp": torch.ones(1), "loss_fn.w": torch.ones(3)}},
    "Lightning with averages": {"state_dict": {**under("model."), **under("ema_model.", AVERAGED)}},
    "a counter of BatchNorm's missing": {name: each for name, each in under("net.").items() if "num_" not in name},
    "DeepSpeed": {"module": RAW, "buffer_names": ["1.b"], "param_shapes": [{"0.weight": torch.Size([4])}]},
    "GradScaler and more": {"net": RAW, "scaler": {"scale": torch.ones(2)}, "rng_states": [torch.ones(3)]},
}  # fmt: skip


def saved(content: Any, path: Path, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def loaded(path: Path, pick: Pick | None = None) -> checkpoint.Checkpoint:
    """A file as its network reads it."""
    return fitted([checkpoint.read(path, pick=pick)], network(), network, "net")[0]


def same_function(tensors: Any, expected: Any) -> bool:
    inputs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = network().eval(), network().eval()
    ours.load_state_dict(dict(tensors))
    theirs.load_state_dict(dict(expected))
    return torch.equal(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", FOUND)
def test_the_weights_are_found(name: str, form: str, tmp_path: Path) -> None:
    path = saved(FOUND[name], tmp_path / "x.ckpt", _use_new_zipfile_serialization=form == "zip")
    found = loaded(path)
    assert same_function(found.tensors, RAW)
    assert found.fresh_tensors().keys() == found.tensors.keys()
    noted = " ".join(found.notes)
    assert ("averaged" in noted) == ("verage" in name or "ema" in name) or "AveragedModel" in name


KEYS: dict[str, tuple[Any, str]] = {
    "a key": ({"state_dict": RAW, "state_dict_ema": AVERAGED}, "state_dict_ema"),
    "a dotted key": ({"model": RAW, "ema": {"state_dict": AVERAGED}}, "ema.state_dict"),
    "a prefix": ({**under("model."), **under("ema_model.", AVERAGED)}, "ema_model"),
    "a prefix of the usual state dict": ({"state_dict": {**under("net."), **under("net_ema.", AVERAGED)}}, "net_ema"),
    "a prefix below a key": ({"a": {**under("student."), **under("teacher.", AVERAGED)}}, "a.teacher"),
    "one of several": ({"generator": RAW, "discriminator": AVERAGED}, "discriminator"),
    "one of a list": ([RAW, AVERAGED], "1"),
    "a prefix behind a wrapper's": ({"model": {**under("module.q."), **under("module.k.", AVERAGED)}}, "k"),
    "the same with it": ({"model": {**under("module.q."), **under("module.k.", AVERAGED)}}, "module.k"),
    "a wrapper's alone": ({**under("module.", AVERAGED), "model": RAW, "n_averaged": torch.tensor(2)}, "module"),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_chooses(name: str, tmp_path: Path) -> None:
    content, key = KEYS[name]
    found = loaded(saved(content, tmp_path / "x.pt"), Pick(key))
    assert same_function(found.tensors, AVERAGED)
    assert found.notes == ()


def test_the_key_that_a_note_names_chooses(tmp_path: Path) -> None:
    content = {"model": {**under("module.net."), **under("module.net_ema.", AVERAGED)}}
    path = saved(content, tmp_path / "x.pt")
    [note] = loaded(path).notes
    assert note.endswith("--key module.net_ema of starcli convert chooses them")
    assert same_function(loaded(path, Pick("module.net_ema")).tensors, AVERAGED)


def test_other_weights_of_the_same_names_are_noted(tmp_path: Path) -> None:
    content = {"model": RAW, "best": {"weights": under("module.", AVERAGED)}, "prior": {"w": torch.zeros(2)}}
    path = saved(content, tmp_path / "x.pt")
    [note] = loaded(path).notes
    said = "takes model; tensors of the same names lie there too: --key best.weights of starcli convert chooses them"
    assert note.endswith(said)
    assert same_function(loaded(path, Pick("best.weights")).tensors, AVERAGED)


def message(path: Path, pick: Pick | None = None) -> str:
    with pytest.raises(StarcliError) as caught:
        loaded(path, pick)
    return str(caught.value)


def test_an_unknown_key_lists_those_there_are(tmp_path: Path) -> None:
    path = saved({"state_dict": RAW, "ema": {"state_dict": AVERAGED}}, tmp_path / "x.pt")
    said = message(path, Pick("sate_dict")).split("\n")[1:]
    assert said == ["  there is state_dict, ema.state_dict", "  names begin with 0, 1, 3"]


@pytest.mark.parametrize("content", [{"a": RAW, "b": AVERAGED}, {**under("a."), **under("b.", AVERAGED)}])
def test_several_that_could_be_meant_are_refused(content: Any, tmp_path: Path) -> None:
    path = saved(content, tmp_path / "x.pt")
    said = message(path)
    assert "--key of starcli convert says which" in said
    assert f"starcli convert {path} --key a --plain -o x.safetensors" in said


def test_tensors_that_do_not_belong_are_named_first_and_left_out_when_asked(tmp_path: Path) -> None:
    path = saved({**RAW, "criterion.weight": torch.ones(3), "proto": torch.ones(2)}, tmp_path / "x.pt")
    lines = [line.strip() for line in message(path).split("\n")[1:]]
    assert lines[0].startswith("--ignore 'criterion.*' proto leaves out what follows: starcli convert ")
    assert lines[1].startswith("criterion.weight: not in the network")
    assert same_function(loaded(path, Pick(ignore=("criterion.*", "proto"))).tensors, RAW)
    save_file({**RAW, "criterion.weight": torch.ones(3)}, tmp_path / "y.safetensors")
    assert "--plain -o y.plain.safetensors" in message(tmp_path / "y.safetensors")
    assert "--ignore nothing.* matches no tensor" in message(path, Pick(ignore=("criterion.*", "nothing.*")))
    less = {name: each for name, each in under("m.").items() if name != "m.0.bias"}
    lines = message(saved({**less, "criterion.weight": torch.ones(3)}, path)).split("\n  ")[1:]
    assert [line.partition(" in x.pt")[0] for line in lines] == [
        "criterion.weight: not in the network",
        "0.bias: missing",
    ]


def test_a_whole_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    assert "state_dict()" in message(saved(network(), tmp_path / "x.pt"))
    said = message(saved({"model": network(), "epoch": 3}, tmp_path / "x.pt"))
    assert "model (torch.nn.modules.container.Sequential)" in said
    assert "torch.save(network.state_dict(), FILE)" in said


def test_what_is_skipped_is_named(tmp_path: Path) -> None:
    path = saved({"state_dict": RAW, "args": argparse.Namespace(lr=1), "best": np.float64(1)}, tmp_path / "x.pt")
    [note] = checkpoint.read(path).notes
    assert note.endswith("only tensors and plain data are read: args (argparse.Namespace), best (numpy.number)")


@pytest.mark.parametrize("name", ["an owner", "Lightning with a loss", "averages in the same dictionary"])
def test_safetensors_files_of_others_are_read_alike(name: str, tmp_path: Path) -> None:
    tensors = FOUND[name].get("state_dict", FOUND[name])
    save_file({key: each.clone() for key, each in tensors.items()}, tmp_path / "x.safetensors", {"format": "pt"})
    assert same_function(loaded(tmp_path / "x.safetensors").tensors, RAW)


def test_a_name_may_lie(tmp_path: Path) -> None:
    """The content says what a file is."""
    save_file({key: each.clone() for key, each in RAW.items()}, tmp_path / "x.bin")
    assert same_function(loaded(tmp_path / "x.bin").tensors, RAW)
    assert same_function(loaded(saved(RAW, tmp_path / "x.safetensors")).tensors, RAW)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pt")
    assert "not a regular file" in message(tmp_path / "x.pt")


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "_orig_mod."])
def test_a_network_whose_own_names_begin_like_a_wrappers(prefix: str, tmp_path: Path) -> None:
    """`module.` belongs to this one; a trainer may have put another one before it."""

    def build() -> nn.Module:
        return nn.ModuleDict({"module": network()})

    path = saved({"state_dict": under(f"{prefix}module.")}, tmp_path / "x.pt")
    [found] = fitted([checkpoint.read(path)], build(), build, "net")
    assert found.tensors.keys() == build().state_dict().keys() == found.fresh_tensors().keys()
    assert all(torch.equal(found.tensors[f"module.{name}"], tensor) for name, tensor in RAW.items())


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "AveragedModel": lambda: AveragedModel(network()),
    "AveragedModel of DataParallel": lambda: AveragedModel(nn.DataParallel(network())),
    "DataParallel": lambda: nn.DataParallel(network()),
    "compiled": lambda: cast("nn.Module", torch.compile(network())),
    "compiled inside": lambda: nn.Sequential(cast("nn.Module", torch.compile(network()))),
}


@pytest.mark.parametrize("file", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_network_takes_its_own_state(name: str, prefix: str, file: str, tmp_path: Path) -> None:
    """What `load_state_dict(strict=True)` takes is taken, names as they stand; a trainer's prefix is left out."""
    build = WRAPPED[name]
    expected, content = build().state_dict(), under(prefix, build().state_dict())
    if file.endswith(".pt"):
        torch.save(content, tmp_path / file)
    else:
        save_file({key: each.clone() for key, each in content.items()}, tmp_path / file)
    outline = build()
    [found] = fitted([checkpoint.read(tmp_path / file)], outline, build, "net")
    assert found.tensors.keys() == found.fresh_tensors().keys() == expected.keys()
    assert all(torch.equal(found.tensors[key], content[f"{prefix}{key}"]) for key in expected)
    assert outline.load_state_dict(dict(found.tensors), strict=True)


def test_arrays_are_named(tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in RAW.items()}
    for content in (arrays, {"state_dict": arrays, "epoch": 3}):
        said = message(saved(content, tmp_path / "x.pt"))
        assert "NumPy arrays are no tensors" in said
        assert "0.weight" in said
        assert "torch.as_tensor" in said


def test_a_real_program_is_named_with_the_way_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.14 asks for torch.export
        torch.jit.script(network()).save(str(tmp_path / "x.pt"))
    said = message(tmp_path / "x.pt")
    assert "TorchScript" in said
    assert "torch.jit.load(FILE).state_dict()" in said


def test_programs_are_refused(tmp_path: Path) -> None:
    saved(RAW, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt", "a") as archive:
        archive.writestr("x/constants.pkl", b"")
    assert "TorchScript" in message(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        archive.writestr("models/model.json", "{}")
    assert "without data.pkl" in message(tmp_path / "y.pt")


def test_very_many_dictionaries_are_told_in_time(tmp_path: Path) -> None:
    """Nothing here is compared with each of all the others."""
    many = {f"x{number}": {"a": RAW["0.weight"]} for number in range(20_000)}
    assert "several state dicts" in message(saved(many, tmp_path / "x.pt"))
    dotted = {"." * 100_000 + str(number): RAW["0.weight"] for number in range(20)}
    assert "do not fit" in message(saved(dotted, tmp_path / "x.pt"))


def test_versions_of_modules_come_along(tmp_path: Path) -> None:
    wrapped = nn.ModuleDict({"module": network()}).state_dict()
    read = checkpoint.read(saved({"state_dict": wrapped}, tmp_path / "x.pt"))
    assert read.versions == dict(getattr(wrapped, "_metadata"))  # noqa: B009
    found = unwrapped(read)
    expected = getattr(network().state_dict(), "_metadata")  # noqa: B009
    assert found.versions == dict(expected)
