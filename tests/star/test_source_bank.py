"""Sources: read ahead, permuted, and never written to."""

import pytest
import torch
from support.stars import RECIPE, same, search_star

from starcli.star import source_bank as sources_module
from starcli.star.source_bank import SourceBank
from starcli.symmetry.permutation import Permutation
from starcli.training.seeds import generator


def test_sources_made_ready_in_a_thread_are_the_same(mlp, mlps, monkeypatch):
    kept = search_star(mlp, mlps, RECIPE, 2, draws_per_step=2)
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", 0)
    assert same(kept.tensors, search_star(mlp, mlps, RECIPE, 2, draws_per_step=2).tensors)


@pytest.mark.parametrize("kept", [0, 2**30])
def test_vectors_are_the_permuted_sources(resnet, resnets, monkeypatch, kept):
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", kept)
    flat = resnet.network()
    bank = SourceBank(resnets, flat)
    bank.set([None, *(Permutation.random(resnet.spec.resolved, generator(i)) for i in range(2))])
    order = [0, 1, 1, 2, 0, 2]
    for number, following in zip(order, [*order[1:], None], strict=True):
        assert torch.equal(bank.vector(number, following), flat.flatten(bank.aligned(number)))
    assert torch.equal(bank.vector(1, 0), flat.flatten(bank.aligned(1)))
    bank.set([None] * 3)  # what was made ready for the old permutations is not used
    assert torch.equal(bank.vector(0), flat.flatten(resnets[0].open()))
    bank.close()


def test_sources_are_never_written_to(mlp, mlps):
    before = {name: tensor.clone() for name, tensor in mlps[0].open().items()}
    search_star(mlp, mlps, RECIPE.override(epochs=1), 0)
    assert same(before, mlps[0].open())
