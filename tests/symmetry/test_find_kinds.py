"""Kinds are derived once, and then found in the cache."""

from pathlib import Path

import pytest
import torch

from starcli.checkpoints.metadata import Architecture
from starcli.errors import StarcliError
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


WRITTEN = """format: 2
groups:
  "unit.{{l}}": {{kind: {}}}
tensors:
  fc1.*: [unit.0]
  "hidden_layers.{{l}}.0.weight": ["unit.{{l+1}}", "unit.{{l}}{}"]
  "hidden_layers.{{l}}.0.bias": ["unit.{{l+1}}"]
  fc2.weight: [_, "unit.1{}"]
  fc2.bias: []
"""


def test_a_file_that_writes_kinds_is_proved_and_taken_at_its_word(tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "batch_norm": "none"}
    mlp = Architecture(name="mlp", arguments=arguments, input_shape=[9])
    network, file = build_network("mlp", **arguments), tmp_path / "mine.yaml"
    for kind, first, second, expected in (("scaled", "'", "'", 12), ("permutation", "", "", 12)):
        file.write_text(WRITTEN.format(kind, first, second))
        spec = find_spec(mlp, network, EXAMPLE, file=file)
        assert find_kinds(spec, mlp, network, EXAMPLE, file=file).continuous_dimension == expected
    file.write_text(WRITTEN.format("scaled", "'", "^-2"))
    with pytest.raises(StarcliError, match="the kinds of the spec do not hold") as caught:
        find_kinds(find_spec(mlp, network, EXAMPLE, file=file), mlp, network, EXAMPLE, file=file)
    assert [line.partition(":")[0] for line in caught.value.problems] == ["unit.1"]
