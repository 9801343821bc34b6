"""Learning over all kinds of symmetries of networks whose lists of modules change places."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.network_kinds import SPECS, case
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.symmetry.element import Element


def examples(shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
    return inputs, inputs.reshape(count, -1)[:, :3].argmax(1)


@pytest.fixture(params=SPECS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Aligner, nn.Module, nn.Module]:
    """An aligner by learning, and two networks that differ."""
    file = tmp_path / "spec.yaml"
    file.write_text(SPECS[request.param])
    network, _, _, inputs = case(request.param)
    shape = tuple(inputs.shape[1:])
    where: dict[str, Any] = {"data": {"train": examples(shape, 200), "test": examples(shape, 50)}, "spec": file}
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(type(network)())
    workspace = sc.align(networks[0], networks[0], **where).workspace
    return Aligner(Alignment("learn", steps=24, examples=32), workspace), networks[0], networks[1]


def test_it_ends_no_worse_than_it_began_and_keeps_the_function(pair: tuple[Aligner, nn.Module, nn.Module]) -> None:
    aligner, first, second = pair
    a, b = first.state_dict(), second.state_dict()
    found = aligner.match(a, b)
    assert isinstance(found.symmetry, Element)
    assert aligner.learner is not None
    judge = aligner.learner.judge
    start = Aligner(Alignment("weight", kinds="all"), aligner.workspace).match(a, b)
    placed = found.symmetry.apply(b)
    assert list(placed) == list(b)
    assert found.midpoint_loss == pytest.approx(judge.loss(a, placed), rel=1e-4)
    assert found.midpoint_loss <= judge.loss(a, start.symmetry.apply(b)) * (1 + 1e-6)
    inputs, _ = examples(aligner.workspace.architecture.input_shape, 7)
    before, after = (torch.func.functional_call(second.eval(), each, (inputs,)) for each in (b, placed))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_a_planted_element_comes_back(pair: tuple[Aligner, nn.Module, nn.Module]) -> None:
    aligner, first, _ = pair
    a = first.state_dict()
    exact = {name: tensor.double() for name, tensor in a.items()}
    planted = Element.random(aligner.workspace.kinds, torch.Generator().manual_seed(1)).apply(exact)
    moved = {name: tensor.float() for name, tensor in planted.items()}
    placed = aligner.match(a, moved).symmetry.apply(moved)
    assert aligner.learner is not None
    judge = aligner.learner.judge
    assert judge.loss(a, placed) < judge.loss(a, a) + 1e-3
