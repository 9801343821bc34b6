"""Kinds are derived once, and then found in the cache."""

from pathlib import Path

import pytest
import torch

from starcli.checkpoints.metadata import Architecture
from starcli.files.cache import using_cache
from starcli.models.build import build_network
from starcli.symmetry.find import find_spec
from starcli.symmetry.find_kinds import find_kinds
from starcli.symmetry.kinds import derive_kinds

ARGUMENTS = {"input_size": 9, "num_classes": 3, "hidden_dim": 6, "depth": 2}
MLP = Architecture(name="mlp", arguments=ARGUMENTS, input_shape=[9])
EXAMPLE = (torch.zeros(2, 9),)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_second_time_kinds_come_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("mlp", **ARGUMENTS)
    spec = find_spec(MLP, network, EXAMPLE)
    first = find_kinds(spec, MLP, network, EXAMPLE)
    assert {name: kind.kind for name, kind in first.groups.items()} == {"unit.0": "scaled", "unit.1": "scaled"}
    monkeypatch.setattr(derive_kinds, "derive_kinds", None)
    with using_cache() as use:
        assert find_kinds(spec, MLP, network, EXAMPLE) == first
    assert use.found["kinds"] == 1


def test_another_activation_is_another_network() -> None:
    spec, kinds = None, []
    for activation in ("relu", "tanh"):
        arguments = {**ARGUMENTS, "activation": activation}
        architecture = Architecture(name="mlp", arguments=arguments, input_shape=[9])
        network = build_network("mlp", **arguments)
        spec = find_spec(architecture, network, EXAMPLE)
        kinds.append(find_kinds(spec, architecture, network, EXAMPLE).groups["unit.0"].kind)
    assert kinds == ["scaled", "signed"]


def test_an_unproved_spec_has_permutations_alone_and_a_note() -> None:
    network = build_network("mlp", **ARGUMENTS)
    found = find_kinds(find_spec(MLP, network, EXAMPLE, accept_unproved=True), MLP, network, EXAMPLE)
    assert {kind.kind for kind in found.groups.values()} == {"permutation"}
    assert found.notes == ("only permutations of units are known: the spec is not proved",)
