"""Stars on a device that is only pretended: the CPU's bytes, and nothing that a step waits for."""

from collections import Counter
from dataclasses import replace

import pytest
from support.pretended import pretended_cuda
from support.stars import RECIPE, search_star
from support.tensors import same
from support.training import small

from starcli.runtime.device import choose_device


@pytest.mark.parametrize("free", [8 << 30, 0])
def test_the_bytes_of_the_cpu(mlp, mlps, monkeypatch, free):
    recipe, options = RECIPE.override(epochs=2), {"mu": 1.0, "held_out": mlps[3:]}
    expected = search_star(mlp, mlps[:3], recipe, 0, **options)
    with pretended_cuda(monkeypatch, free=free):
        there = replace(mlp, device=choose_device("cuda"))
        found = search_star(there, mlps[:3], recipe, 0, **options)
    assert same(found.tensors, expected.tensors)


ONCE = {"source_vectors.py", "permutation.py", "run.py"}
"""Where copies and questions are as many as sources, or as minutes."""


@pytest.mark.parametrize("free", [8 << 30, 0])
def test_no_step_waits_for_the_device(resnets, monkeypatch, free):
    with pretended_cuda(monkeypatch, free=free) as pretended:
        found = []
        for limit in (144, 240):  # 3 and 5 steps
            there = replace(small("resnet", limit=limit, width=4, stages=2), device=choose_device("cuda"))
            pretended.waits.clear()
            search_star(there, resnets, RECIPE.override(epochs=1), 0)
            found.append(Counter(pretended.waits))
    few, many = found
    assert {place.partition(":")[0] for _, place in many - few} <= ONCE
