"""Lists of modules that change places: every way to align takes and gives tensors by the names of the network."""

import itertools
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from support.networks.lists import HEADS, MIXTURE, HeadList, Mixture
from support.networks.sparse import ByNewTensors
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.activations import INPUT, Activations
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.joint import match_jointly
from starcli.alignment.matching.bound import upper_bound
from starcli.alignment.objective import inner_product
from starcli.symmetry.permutation import Permutation
from starcli.workspace.workspace import Workspace

EXPERTS = 4


class Branches(nn.Module):
    """Convolutions in branches, with BatchNorm, a scale that is not trained, and weights that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(1, 5, 3), nn.Linear(5, 3)
        self.reads = nn.ModuleList(nn.Sequential(nn.Conv2d(5, 4, 3, padding=1), nn.BatchNorm2d(4)) for _ in range(3))
        self.writes, self.again = (nn.ModuleList(nn.Conv2d(4, 5, 1, bias=False) for _ in range(3)) for _ in range(2))
        self.scales = nn.ParameterList(nn.Parameter(torch.rand(4, 1, 1) + 0.5, requires_grad=False) for _ in range(3))
        for one, other in zip(self.writes, self.again, strict=True):
            other.weight = one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = whole = self.stem(x).relu()
        for read, write, again, scale in zip(self.reads, self.writes, self.again, self.scales, strict=True):
            hidden = read(x).relu() * scale
            whole = whole + write(hidden) + again(hidden.square())
        return self.out(whole.mean((2, 3)))


BRANCHES = """format: 1
groups: {unit: {within: branch}}
tensors:
  stem.*: [stream]
  reads.[].0.weight: [branch, unit, stream]
  reads.[].0.bias: [branch, unit]
  reads.[].1.weight: [branch, unit]
  reads.[].1.bias: [branch, unit]
  reads.[].1.running_mean: [branch, unit]
  reads.[].1.running_var: [branch, unit]
  reads.[].1.num_batches_tracked: [branch]
  writes.[].weight: [branch, stream, unit]
  again.[].weight: [branch, stream, unit]
  scales.[]: [branch, unit]
  out.weight: [_, stream]
  out.bias: []
tied: [["writes.[].weight", "again.[].weight"]]
"""


def images(count: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(count))
    return inputs, inputs[:, 0, 0, :3].argmax(1)


def vectors(count: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(count))
    return inputs, inputs[:, :3].argmax(1)


def sequences(count: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 5, 7, generator=torch.Generator().manual_seed(count))
    return inputs, inputs[:, 0, :3].argmax(1)


CASES: dict[str, tuple[type[nn.Module], str, Any]] = {
    "experts": (Mixture, MIXTURE, vectors),
    "sparse": (ByNewTensors, MIXTURE, vectors),
    "heads": (HeadList, HEADS, sequences),
    "branches": (Branches, BRANCHES, images),
}
cases = pytest.mark.parametrize("case", CASES)


def networks(case: str, count: int) -> list[nn.Module]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(CASES[case][0]())
    return made


@pytest.fixture
def where(tmp_path: Path, case: str) -> dict[str, Any]:
    """Data and spec of a case."""
    file = tmp_path / "spec.yaml"
    file.write_text(CASES[case][1])
    examples = CASES[case][2]
    return {"data": {"train": examples(200), "test": examples(100)}, "spec": file}


def workspace_of(network: nn.Module, where: Mapping[str, Any]) -> Workspace:
    return sc.align(network, network, **where).workspace


def outputs(network: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    network.load_state_dict(dict(tensors))
    with torch.no_grad():
        return network.eval()(inputs)


@cases
@pytest.mark.parametrize("method", ["weight", "activation"])
def test_what_was_planted_comes_back(case: str, where: dict[str, Any], method: str) -> None:
    for row in sc.selftest(networks(case, 1)[0], method=method, plants=2, **where):
        assert row["recovered"] == row["units"] > 0
        assert row["difference"] < 1e-5
        assert row["distance"] == 0 if method == "weight" else row["distance"] < 1e-6


@cases
def test_what_is_planted_of_all_kinds_comes_back(case: str, where: dict[str, Any]) -> None:
    how = Alignment("weight", kinds="all")
    [row, _] = sc.selftest(networks(case, 1)[0], method=how, plants=1, **where)
    assert row["planted"] == "elements of all kinds"
    assert row["recovered"] == row["units"] > 0
    assert row["distance"] < 1e-6


@cases
@pytest.mark.parametrize("method", ["weight", "activation"])
def test_an_aligned_model_is_the_same_function_under_the_names_of_the_network(
    case: str, where: dict[str, Any], method: str
) -> None:
    first, second = networks(case, 2)
    inputs, before = where["data"]["test"][0], deepcopy(second.state_dict())
    aligned = sc.align(first, second, method=method, **where)
    assert list(aligned.tensors) == list(before)
    assert aligned.permutation.moved() > 0
    torch.testing.assert_close(outputs(second, aligned.tensors, inputs), outputs(second, before, inputs))
    figures, own = aligned.to_dict(), dict(first.named_parameters())
    products = [(tensor.detach().double() * aligned.tensors[name]).sum() for name, tensor in own.items()]
    assert figures["objective"] == pytest.approx(float(sum(products)))
    apart = [(tensor.detach() - aligned.tensors[name]).double().square().sum() for name, tensor in own.items()]
    assert figures["distance_after"] == pytest.approx(float(sum(apart)) ** 0.5)
    assert figures["distance_after"] < figures["distance_before"]


def best_order(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Highest inner product over all orders of the experts, each pair with its best order of hidden units."""

    def rows(tensors: Mapping[str, Tensor], expert: int) -> np.ndarray[Any, Any]:
        up, bias, down = (tensors[f"experts.{expert}.{name}"] for name in ("0.weight", "0.bias", "2.weight"))
        return torch.cat([up, bias[:, None], down.T], 1).double().numpy()

    def still(tensors: Mapping[str, Tensor], expert: int) -> Tensor:
        own = (tensors["router.weight"][expert], tensors["router.bias"][expert, None])
        return torch.cat([*own, tensors[f"experts.{expert}.2.bias"]]).double()

    gains = np.empty((EXPERTS, EXPERTS))
    for i, j in itertools.product(range(EXPERTS), repeat=2):
        pairs = rows(first, i) @ rows(second, j).T
        gains[i, j] = pairs[linear_sum_assignment(pairs, maximize=True)].sum() + float(
            still(first, i) @ still(second, j)
        )
    best = max(gains[range(EXPERTS), order].sum() for order in itertools.permutations(range(EXPERTS)))
    others = (name for name in first if name.startswith(("read", "out")))
    return float(best) + sum(float((first[name].double() * second[name]).sum()) for name in others)


@pytest.mark.parametrize("case", ["experts"])
def test_experts_are_matched_as_by_trying_all_orders(where: dict[str, Any]) -> None:
    """With the stream as it is there are but experts and their units, for which matching is exact."""
    where["spec"].write_text(MIXTURE.replace("stream", "_"))
    first, second = (each.state_dict() for each in networks("experts", 2))
    aligned = sc.align(*networks("experts", 2), **where)
    best = best_order(first, second)
    assert aligned.to_dict()["objective"] == pytest.approx(best, rel=1e-9)
    assert upper_bound(first, second, aligned.permutation.spec) >= best - 1e-9
    assert aligned.optimality()["gap"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("case", ["experts", "heads"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_what_a_list_reads_moves_as_its_weights_do(case: str, where: dict[str, Any], share: float) -> None:
    [network] = networks(case, 1)
    activations = Activations(workspace_of(network, where), Alignment("activation", examples=64, share=share))
    read = {"experts": "experts.[].2.weight", "heads": "heads.[].key.weight"}[case]
    assert activations.spec.expressions[INPUT + read][0] in ("expert", "head")
    own = activations.workspace.spec.resolved
    planted = Permutation.random(own, torch.Generator().manual_seed(1))
    tensors = network.state_dict()
    moved, expected = activations.beside(planted.apply(tensors)), activations.beside(tensors)
    assert moved.keys() == expected.keys() >= {INPUT + each for each in own.stacks[read]}
    for name, tensor in Permutation(activations.spec, planted.index).apply(expected).items():
        torch.testing.assert_close(moved[name], tensor)


@pytest.mark.parametrize("case", ["sparse"])
def test_what_experts_are_sent_is_not_compared(where: dict[str, Any]) -> None:
    """Models send other examples to each expert, or none."""
    network, other = networks("sparse", 2)
    with torch.no_grad():
        other.router.bias += torch.tensor([100.0, 0.0, 0.0, 0.0])
    activations = Activations(workspace_of(network, where), Alignment("activation"))
    assert not any(INPUT + "experts" in name for name in activations.spec.axes)
    aligned = sc.align(network, other, method="activation", **where)
    assert aligned.to_dict()["objective"] > inner_product(
        aligned.permutation.spec, network.state_dict(), other.state_dict()
    )


UNSTACKED = """format: 1
tensors:
  read.*: []
  router.*: []
  experts.{l}.0.*: ["unit.{l}"]
  experts.{l}.2.weight: [_, "unit.{l}"]
  experts.{l}.2.bias: []
  out.*: []
"""


@pytest.mark.parametrize("case", ["sparse"])
def test_a_layer_that_not_every_model_reads_with_says_nothing(where: dict[str, Any]) -> None:
    """Without stacks, too: which layers are compared is told by the network as it is made."""
    where["spec"].write_text(UNSTACKED)
    network, other = networks("sparse", 2)
    with torch.no_grad():
        other.router.bias += torch.tensor([100.0, 0.0, 0.0, 0.0])
    workspace = sc.align(network, network, unproved=True, **where).workspace
    activations = Activations(workspace, Alignment("activation"))
    read = activations.beside(other.state_dict())
    assert not read[INPUT + "experts.3.2.weight"].any()


@cases
@pytest.mark.parametrize("method", ["weight", "activation"])
def test_models_are_aligned_together(case: str, where: dict[str, Any], method: str) -> None:
    models = [each.state_dict() for each in networks(case, 3)]
    aligner = Aligner(Alignment(method), workspace_of(networks(case, 1)[0], where))
    found = match_jointly(aligner, models)
    placed = [each.apply(model) for each, model in zip(found.symmetries, models, strict=True)]
    before, after = (
        sum(inner_product(aligner.spec, a, b) for a, b in itertools.combinations(each, 2)) / 3
        for each in (models, placed)
    )
    assert after > before
    if method == "weight":
        assert found.objective == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize("case", ["experts", "heads"])
@pytest.mark.parametrize("method", ["straight-through", "sinkhorn"])
def test_learning_never_ends_above_its_start(case: str, where: dict[str, Any], method: str) -> None:
    first, second = (each.state_dict() for each in networks(case, 2))
    aligner = Aligner(Alignment(method, steps=20), workspace_of(networks(case, 1)[0], where))
    assert aligner.learner is not None
    start = Permutation.random(aligner.spec, torch.Generator().manual_seed(0))
    begun = aligner.learner.judge.loss(first, start.apply(second))
    found = aligner.learn(first, second, start, seed=0)
    assert found.midpoint_loss is not None
    assert found.midpoint_loss <= begun
    ended = aligner.learner.judge.loss(first, found.permutation.apply(second))
    assert ended == pytest.approx(found.midpoint_loss)


@cases
def test_a_star_is_found_and_loads_into_the_network(case: str, where: dict[str, Any], tmp_path: Path) -> None:
    how = {"epochs": 2, "batch_size": 100, "optimizer": "adam", **where}
    sources = [sc.train(CASES[case][0], seed=seed, **how) for seed in range(3)]
    star, again = (sc.find_star(sources, **how) for _ in range(2))
    assert same(star.tensors, again.tensors)
    [network] = networks(case, 1)
    network.load_state_dict(dict(sc.load(sc.save(star, tmp_path / "star.safetensors")).tensors))
    inputs = where["data"]["test"][0]
    for source, aligned in zip(sources, star.aligned_sources, strict=True):
        assert list(aligned.tensors) == list(star.tensors) == list(source.tensors)
        torch.testing.assert_close(outputs(network, aligned.tensors, inputs), outputs(network, source.tensors, inputs))
