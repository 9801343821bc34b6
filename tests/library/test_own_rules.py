"""Networks that load by rules of their own: what torch makes of a state dict stays so in all that is made of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import starcli as sc


class Versioned(nn.Linear):
    """Version 1 kept the weight halved, and said `scale` in place of `bias`."""

    _version = 2

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any) -> None:
        if local_metadata.get("version", 1) < 2:
            state_dict[prefix + "weight"] = 2 * state_dict[prefix + "weight"]
            state_dict[prefix + "bias"] = state_dict.pop(prefix + "scale", state_dict.get(prefix + "bias"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def build() -> nn.Module:
    return nn.Sequential(Versioned(4, 6), nn.ReLU(), nn.Linear(6, 3))


INPUTS, LABELS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
WHERE: Any = {"arch": build, "data": {"train": (INPUTS, LABELS), "test": (INPUTS, LABELS)}}


def loss(network: nn.Module) -> float:
    with torch.no_grad():
        return float(cross_entropy(network(INPUTS), LABELS))


def of_file(content: Any) -> float:
    network = build()
    network.load_state_dict(content)
    return loss(network)


def measured(model: Any) -> float:
    found: float = sc.evaluate(model, **WHERE)[0]["nll"]
    return found


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return build().state_dict()


@pytest.mark.filterwarnings("ignore:the inputs in memory")
def test_versions_are_those_of_the_file_once(state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "new.pt")
    torch.save(dict(state), "bare.pt")
    save_file(dict(state), "bare.safetensors")
    old = {name.replace("0.bias", "0.scale"): tensor for name, tensor in state.items()}
    torch.save(old, "old.pt")
    assert of_file(state) != pytest.approx(of_file(dict(state)))
    assert measured("new.pt") == pytest.approx(of_file(state), rel=1e-5)
    assert measured(state) == pytest.approx(of_file(state), rel=1e-5)
    for path in ("bare.pt", "bare.safetensors", "old.pt"):
        assert measured(path) == pytest.approx(of_file(dict(state)), rel=1e-5)
    sc.save("new.pt", "again.pt")
    assert of_file(torch.load("again.pt", weights_only=False)) == of_file(state)


@pytest.mark.filterwarnings("ignore:the inputs in memory", "ignore:.*have their units in one order")
def test_what_is_made_of_a_model_is_its_state_and_read_as_it_is(
    state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = {name: tensor + 0.1 for name, tensor in state.items()}
    expected = of_file(dict(state))
    for made in (
        sc.permute(dict(state), seed=0, **WHERE),
        sc.align(other, dict(state), **WHERE),
        sc.interpolate(dict(state), other, t=0.0, alignment=None, **WHERE),
    ):
        sc.save(made, "made.safetensors", force=True)
        for model in (made, "made.safetensors", made.module(), sc.permute(made, seed=3), sc.align(made, made)):
            assert measured(model) == pytest.approx(expected, rel=1e-5)
        sc.save(made, "made.pt", force=True)
        assert of_file(torch.load("made.pt", weights_only=False)) == pytest.approx(expected, rel=1e-5)
    star = sc.find_star([dict(state), other], recipe=sc.Recipe(epochs=1), **WHERE)
    assert measured(star.sources[0]) == pytest.approx(expected, rel=1e-5)
    assert measured(star.aligned_sources[0]) == pytest.approx(expected, rel=1e-5)
