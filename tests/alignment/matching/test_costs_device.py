"""Costs on a GPU that is only pretended: the same permutations, all tensors there; and when they are computed there."""

import pytest
import torch
from support.matching import CASES, case, draw
from support.pretended import pretended_cuda

from starcli.alignment.matching import costs, problem
from starcli.alignment.matching.problem import costs_device
from starcli.alignment.matching.weight_matching import match_many, match_weights

CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize("widest", [costs.WIDEST_CHAIN, 4])
@pytest.mark.parametrize("name", CASES)
def test_the_permutations_of_the_cpu(name: str, widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "WIDEST_CHAIN", widest)
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    expected = match_weights(a, b, spec, restarts=3)
    with pretended_cuda(monkeypatch):
        [found] = match_many(a, [b], spec, seeds=[0], restarts=3, starts=[None], device=CUDA)
    assert found.permutation.moved(expected.permutation) == 0
    assert (found.sweeps, found.objective) == (expected.sweeps, pytest.approx(expected.objective, rel=1e-12))


def test_large_networks_of_which_several_fit_are_matched_there(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = case("residual")
    cpu = torch.device("cpu")
    with pretended_cuda(monkeypatch, free=0):  # what is free changes nothing
        assert costs_device(spec, CUDA, "fp32") == cpu
        monkeypatch.setattr(problem, "LARGE_PRODUCT", 1)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1 << 30))
        assert costs_device(spec, CUDA, "bf16") == CUDA
        assert costs_device(spec, CUDA, "tf32") == costs_device(spec, cpu, "fp32") == cpu
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1 << 10))
        assert costs_device(spec, CUDA, "fp32") == cpu
