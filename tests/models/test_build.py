"""Architectures: the published implementations are reproduced, arguments are checked, initial weights are explicit."""

import gzip
import json
import math
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from starcli.errors import StarcliError
from starcli.models.build import build_network, build_outline, complete_arguments
from starcli.models.initialise import drawing_from
from starcli.registry.activations import ACTIVATIONS
from starcli.registry.architectures import ARCHITECTURES
from starcli.symmetry.shipped import shipped_spec

REFERENCE = json.loads(gzip.decompress((Path(__file__).parent / "architectures.json.gz").read_bytes()))

# the arguments of the published networks under the names that ours have
OURS = {
    "wrn-16-1": "wrn",
    "wrn-22-1": "wrn",
    "wrn-22-2": "wrn",
    "wrn-40-1": "wrn",
    "mlp-784-64": "mlp",
    "mlp-784-32-depth3": "mlp",
}

# every architecture as small as it gets, and an input that it admits
SMALL = {
    "mlp": ({"hidden_dim": 5, "depth": 2}, (1, 8, 8)),
    "vgg11": ({"width": 2}, (1, 32, 32)),
    "vgg19": ({"width": 2}, (3, 32, 32)),
    "vgg11-bn": ({"width": 2}, (3, 64, 32)),
    "vgg19-bn": ({"width": 2}, (1, 32, 32)),
    "resnet18-cifar": ({"width": 2}, (3, 20, 28)),
    "resnet": ({"width": 2}, (1, 8, 8)),
    "wrn": ({"width": 2}, (1, 28, 28)),
    "densenet40-12": ({"depth": 10, "growth_rate": 2}, (1, 8, 8)),
    "resnet18": ({}, (1, 28, 28)),
    "resnet50": ({}, (3, 32, 32)),
    "vit": ({"dim": 8, "heads": 2, "depth": 1, "patch_size": 2}, (1, 8, 8)),
    "bag": ({"dim": 4, "hidden_dim": 5}, (6,)),
    "textcnn": ({"dim": 4, "channels": 3}, (6,)),
    "bert": ({"dim": 8, "heads": 2, "depth": 1, "mlp_dim": 5}, (6,)),
    "gpt": ({"dim": 8, "heads": 2, "depth": 1, "mlp_dim": 5}, (6,)),
}
TOKENS = {"bag", "textcnn", "bert", "gpt"}


def data_of(name: str, num_classes: int = 7) -> dict[str, Any]:
    """What data for an architecture of SMALL say of it."""
    return {
        "input_shape": SMALL[name][1],
        "num_classes": num_classes,
        "vocab_size": 7 if name in TOKENS else None,
        "task": "next-token" if name == "gpt" else "classes",
    }


def inputs_of(name: str, count: int = 2) -> torch.Tensor:
    shape = (count, *SMALL[name][1])
    return torch.randint(7, shape) if name in TOKENS else torch.randn(shape)


def reference_tensor(key: str, shape: list[int]) -> torch.Tensor:
    """The fixed weights of the reference, by their formula."""
    x = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(math.prod(shape)).reshape(shape)
    if not shape:
        x = np.zeros(())
    elif key.endswith("running_var"):
        x = 1 + 0.5 * np.tanh(x)
    elif key.endswith("running_mean"):
        x = 0.1 * x
    elif len(shape) >= 2:
        x = x * np.sqrt(2 / math.prod(shape[1:]))
    else:
        x = 1 + 0.1 * x if key.endswith("weight") else 0.1 * x
    return torch.from_numpy(np.asarray(x))


@pytest.mark.parametrize("entry", REFERENCE)
def test_published_networks_are_reproduced(entry: str) -> None:
    reference = REFERENCE[entry]
    network = build_network(OURS.get(entry, entry), **reference["args"]).double().eval()
    state = network.state_dict()
    assert [[key, list(tensor.shape)] for key, tensor in state.items()] == reference["keys"]
    network.load_state_dict({key: reference_tensor(key, shape) for key, shape in reference["keys"]})
    x = torch.from_numpy(np.random.RandomState(0).standard_normal(reference["input_shape"]))
    expected = torch.tensor(reference["logits"], dtype=torch.float64)
    with torch.no_grad():
        difference = (network(x) - expected).abs().max()
    assert difference <= 1e-9 * expected.abs().max()


def test_every_registered_architecture_is_tried() -> None:
    assert set(SMALL) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", SMALL)
def test_complete_then_build(name: str) -> None:
    arguments, shape = SMALL[name]
    complete = complete_arguments(name, arguments, **data_of(name))
    assert json.loads(json.dumps(complete)) == complete
    assert complete_arguments(name, complete, **data_of(name)) == complete
    network = build_network(name, **complete)
    assert network(inputs_of(name)).shape == ((2, *shape, 7) if name == "gpt" else (2, 7))
    assert all(p.dtype is torch.float32 and p.requires_grad for p in network.parameters())


# resnet50 takes longer and runs the same code as resnet18
@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"resnet50"}))
def test_initial_weights_come_from_the_generator_alone(name: str) -> None:
    complete = complete_arguments(name, SMALL[name][0], **data_of(name))
    before = torch.get_rng_state()
    first, second, other = (
        build_network(name, generator=torch.Generator().manual_seed(seed), **complete) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_torchvision_keeps_its_own_initialisation() -> None:
    import torchvision.models

    generator = torch.Generator().manual_seed(5)
    with drawing_from(torch.Generator().manual_seed(5)):
        expected = torchvision.models.resnet18(weights=None, num_classes=3)
    network = build_network("resnet18", generator=generator, num_classes=3)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), expected.parameters(), strict=True))


def test_a_generator_moves_on_and_threads_do_not_mix() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = (build_network("mlp", generator=generator) for _ in range(2))
    assert not torch.equal(one.fc1.weight, two.fc1.weight)
    found: dict[int, torch.Tensor] = {}

    def draw(seed: int) -> None:
        found[seed] = build_network("mlp", generator=torch.Generator().manual_seed(seed), depth=20).fc2.weight

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, weight in found.items():
        alone = build_network("mlp", generator=torch.Generator().manual_seed(seed), depth=20)
        assert torch.equal(alone.fc2.weight, weight)


def test_the_mlp_keeps_its_three_conventions_of_normalisation() -> None:
    def norms(**arguments: object) -> list[str]:
        network = build_network("mlp", depth=3, **arguments)
        return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm1d)]

    assert norms() == ["hidden_layers.0.1", "hidden_layers.1.1"]
    assert norms(batch_norm="all") == ["bn1", "hidden_layers.0.1", "hidden_layers.1.1"]
    assert norms(batch_norm="none") == []


def test_a_linear_mlp_is_linear() -> None:
    arguments = {"activation": "identity", "bias": False, "hidden_dim": 4}
    values = complete_arguments("mlp", arguments, input_shape=(2,), num_classes=2)
    network = build_network("mlp", **values)
    a, b = torch.randn(2, 5, 2)
    assert torch.allclose(network(a + 3 * b), network(a) + 3 * network(b), atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"vgg11", "vgg19", "vgg19-bn", "resnet18", "resnet50"}))
def test_activations_by_name(name: str, activation: str) -> None:
    arguments = complete_arguments(name, {**SMALL[name][0], "activation": activation}, **data_of(name))
    network = build_network(name, **arguments)
    expected = type(getattr(nn, ACTIVATIONS[activation].target.split(":")[1])())
    kinds = {type(getattr(nn, entry.target.split(":")[1])()) for entry in ACTIVATIONS.values()} - {nn.Identity}
    used = {type(module) for module in network.modules()} & kinds
    assert used == ({expected} - {nn.Identity})
    network(inputs_of(name)).sum().backward()


def test_the_quickstarts_network_has_20_thousand_parameters() -> None:
    arguments = complete_arguments("resnet", {}, input_shape=(1, 8, 8), num_classes=10)
    count = sum(p.numel() for p in build_outline("resnet", **arguments).parameters())
    assert 19_000 < count < 21_000


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnt", {}, ["unknown architecture 'resnt'", "did you mean resnet"]),
        ("resnet", {"widht": 4}, ["widht: no such argument", "did you mean width?"]),
        ("mlp", {"width": 4}, ["width: no such argument; there is activation", "hidden_dim"]),
        ("resnet", {"width": "4"}, ["width: must be an integer from 1 to", "'4'"]),
        ("resnet", {"width": True, "blocks": 0}, ["width: must be", "True", "blocks: must be", "0"]),
        ("mlp", {"activation": "rellu"}, ["one of relu, elu", "did you mean relu"]),
        ("mlp", {"bias": 1}, ["bias: must be true or false"]),
        ("mlp", {"hidden_dim": 65_536, "depth": 1000}, ["parameters, more than"]),
        ("mlp", {"hidden_dim": 10**30}, ["hidden_dim: must be"]),
        ("mlp", {"hidden_dim": float("nan")}, ["hidden_dim: must be"]),
        ("vgg11", {"dropout": 1.5}, ["dropout: must be a number from 0.0 to 0.99"]),
        ("vgg11", {"image_size": 31}, ["at least 32x32", "31x31"]),
        ("vgg11", {"image_size": [32, 32, 32]}, ["image_size: must be"]),
        ("vgg11", {"image_size": 16384, "width": 512}, ["parameters, more than"]),
        ("wrn", {"depth": 20}, ["6n + 4", "22"]),
        ("densenet40-12", {"depth": 41}, ["3n + 4", "40"]),
        ("vit", {"patch_size": 5, "heads": 3}, ["patch_size: 5 does not divide 32x32", "heads: 3 does not divide"]),
        ("torchvision:resnet18", {}, ["outside the registry", "--arch"]),
        ("os:system", {}, ["outside the registry"]),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(StarcliError) as caught:
        build_network(name, **arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "words"),
    [
        ("resnet", {}, (5,), ["needs images", "(5,)"]),
        ("resnet", {"in_channels": 3}, (1, 8, 8), ["in_channels: 3 given, 1 in the data"]),
        ("vit", {"image_size": 8}, (1, 28, 28), ["image_size: 8 given, 28 in the data"]),
        ("mlp", {"num_classes": 4}, (5,), ["num_classes: 4 given, 7 in the data"]),
        ("vgg11", {}, (1, 28, 28), ["at least 32x32 pixels, not 28x28"]),
        ("densenet40-12", {}, (3, 2, 2), ["does not admit inputs of 3x2x2"]),
    ],
)
def test_data_that_do_not_fit(
    name: str, arguments: dict[str, object], shape: tuple[int, ...], words: list[str]
) -> None:
    with pytest.raises(StarcliError) as caught:
        complete_arguments(name, arguments, input_shape=shape, num_classes=7)
    for word in words:
        assert word in str(caught.value)


def test_more_classes_than_the_data_have_are_allowed() -> None:
    assert complete_arguments("mlp", {"num_classes": 9}, input_shape=(5,), num_classes=7)["num_classes"] == 9


def test_names_outside_the_registry_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\n"
        "def net(in_chans=3, num_classes=2, width=4):\n"
        "    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    return nn.Sequential(nn.Conv2d(in_chans, width, 1), pool, nn.Linear(width, num_classes))\n"
        "def narrow(width):\n    return nn.Linear(width, 2)\n"
        "def any_of(width, **more):\n    return nn.Linear(width, 2)\n"
        "def text():\n    return 'no network'\n"
        "def broken():\n    raise KeyError('gone')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = complete_arguments("own_models:net", {"width": 6}, input_shape=(1, 9, 9), num_classes=5, trusted=True)
    assert arguments == {"in_chans": 1, "num_classes": 5, "width": 6}
    network = build_network("own_models:net", trusted=True, **arguments)
    assert network(torch.zeros(2, 1, 9, 9)).shape == (2, 5)
    assert shipped_spec("own_models:net", arguments) is None
    for name, given, word in (
        ("own_models:nett", {}, "did you mean net?"),
        ("own_models:text", {}, "made a str"),
        ("own_models:net", {"depth": 3}, "wrong arguments\n  depth: no such argument"),
        ("own_models:narrow", {"widht": 3}, "wrong arguments\n  widht: no such argument; did you mean width?$"),
        ("own_models:narrow", {}, "missing a required argument: 'width'"),
        ("own_models:any_of", {"widht": 3}, "missing a required argument: 'width'"),
        ("own_models:broken", {}, "KeyError: 'gone'"),
        ("own_modells:net", {}, "No module named 'own_modells'"),
        ("torchvision:resnt18", {}, "did you mean"),
        ("timm:resnet18", {}, "timm"),
    ):
        if name.startswith("timm") and __import__("importlib.util").util.find_spec("timm"):
            continue
        with pytest.raises(StarcliError, match=word.replace("?", r"\?")):
            build_network(name, trusted=True, **given)


def test_torchvision_by_name() -> None:
    arguments = complete_arguments(
        "torchvision:squeezenet1_1", {}, input_shape=(3, 64, 64), num_classes=4, trusted=True
    )
    assert arguments == {"num_classes": 4}
    assert build_network("torchvision:squeezenet1_1", trusted=True, **arguments)(torch.zeros(1, 3, 64, 64)).shape == (
        1,
        4,
    )
    with pytest.raises(StarcliError, match="does not admit inputs of 1x28x28"):
        complete_arguments("torchvision:squeezenet1_1", {}, input_shape=(1, 28, 28), num_classes=4, trusted=True)


@pytest.mark.slow
def test_outlines_import_no_compiler_and_run_once_they_have_values() -> None:
    """torchvision's own networks import it by themselves; torch 2.6 imports sympy for any zeros on the meta device."""
    lines = ["import sys, torch; torch.zeros(1, device='meta'); alone = set(sys.modules)"]
    lines.append("from starcli.models import build")
    for name, (arguments, shape) in SMALL.items():
        if name in ("resnet18", "resnet50"):
            continue
        inputs = {"mlp": "input_size=64"}.get(name, f"in_channels={shape[0]}")
        inputs = "vocab_size=7" + ", length=6" * (name in ("bert", "gpt")) if name in TOKENS else inputs
        given = f"{name!r}, **{arguments}, {inputs}" + (f", image_size={list(shape[1:])}" if name[:3] == "vgg" else "")
        lines.append(f"network = build.runnable(build.build_outline({given}))")
        lines.append("assert not any(tensor.is_meta for tensor in network.state_dict().values())")
        kind = ", dtype=torch.int64" if name in TOKENS else ""
        lines.append(f"network.eval()(torch.zeros({(2, *shape)}{kind}))" if name != "vit" else "")
    lines.append("assert not {'sympy', 'torch._dynamo'} & (set(sys.modules) - alone)")
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
