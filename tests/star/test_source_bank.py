"""Sources: read ahead, permuted, and never written to."""

import pytest
import torch
from support.pretended import Stream, pretended_cuda
from support.stars import RECIPE, search_star
from support.tensors import same

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.runtime.progress import SILENT
from starcli.star import source_vectors as sources_module
from starcli.star.source_bank import Source, SourceBank
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
    bank.set({i: Permutation.random(resnet.spec.resolved, generator(i)) for i in (1, 2)})
    order = [0, 1, 1, 2, 0, 2]
    for number, following in zip(order, [*order[1:], None], strict=True):
        assert torch.equal(bank.vector(number, following), flat.flatten(bank.aligned(number)))
    assert torch.equal(bank.vector(1, 0), flat.flatten(bank.aligned(1)))
    bank.set(dict.fromkeys(range(3)))  # what was made ready for the old permutations is not used
    assert torch.equal(bank.vector(0), flat.flatten(resnets[0].open()))
    bank.close()


@pytest.mark.parametrize(
    "calls", [[(0, 1), (1, None), (2, None)], [(0, 1), (2, 0), (1, None)], [(0, None)] * 2], ids=str
)
def test_a_vector_is_valid_until_the_call_after_next(resnet, resnets, monkeypatch, calls):
    """Also where nothing is made ready, or another source is asked for than the one that was."""
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", 0)
    flat = resnet.network()
    bank = SourceBank(resnets, flat)
    before = None
    for number, following in calls:
        found = bank.vector(number, following)
        if before is not None:
            assert torch.equal(before[1], flat.flatten(resnets[before[0]].open()))
        before = number, found
    bank.close()


@pytest.mark.parametrize(("kept", "opened"), [(2**30, 3), (0, 3 * 3)])
def test_small_sources_are_opened_once(resnet, resnets, monkeypatch, kept, opened):
    """Else for each alignment and each vector."""
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", kept)
    calls = []
    sources = [Source(s.name, lambda s=s: (calls.append(s.name), s.open())[1]) for s in resnets]
    flat = resnet.network(0)
    bank, aligner = SourceBank(sources, flat), Aligner(Alignment("weight"), resnet)
    for _ in range(2):
        bank.align(flat.state(), aligner, 0, 1, range(3), progress=SILENT)
    for number in range(3):
        bank.vector(number)
    bank.close()
    assert len(calls) == opened


def test_sources_are_never_written_to(mlp, mlps):
    before = {name: tensor.clone() for name, tensor in mlps[0].open().items()}
    search_star(mlp, mlps, RECIPE.override(epochs=1), 0)
    assert same(before, mlps[0].open())


@pytest.mark.parametrize("free", [8 << 30, 0])
def test_vectors_on_a_gpu(resnet, resnets, monkeypatch, free):
    """Kept and composed there, or read ahead: the same vectors, and nothing that a step waits for."""
    permutations = {i: Permutation.random(resnet.spec.resolved, generator(i)) for i in (1, 2)}
    flat = resnet.network()
    bank = SourceBank(resnets, flat)
    bank.set(permutations)
    expected = [flat.flatten(bank.aligned(number)) for number in range(3)]
    with pretended_cuda(monkeypatch, free=free) as pretended:
        flat = resnet.network().to("cuda")
        bank = SourceBank(resnets, flat)
        assert bank.keeps == (free > 0)
        bank.set(permutations)
        order = [0, 1, 1, 2, 0, 2, 1]
        for number, following in zip(order, [*order[1:], None], strict=True):
            found = bank.vector(number, following)
            assert found.device == flat.parameters.device
            assert torch.equal(found.cpu(), expected[number])
        pretended.waits.clear()
        bank.vector(1)
        assert not pretended.waits
        bank.close()


def test_a_gpu_copies_beside_the_steps_and_after_those_that_read(resnet, resnets, monkeypatch):
    with pretended_cuda(monkeypatch, free=0):
        bank = SourceBank(resnets, resnet.network().to("cuda"))
        bank.vector(0, 1)
        bank._vectors._next[1].result()
        Stream.log.clear()
        bank.vector(1, 2)
        bank.close()
        log = list(Stream.log)
    # 2 comes into the place of 0 once its copy is done and the steps that read 0 are; steps wait for that of 1; after
    # `close` all waits for both copies, for it may be given that memory
    made = ["the host waits for an event of side", "side waits for an event of main", "side marks"]
    assert [line for line in log if line in made] == made
    assert [line for line in log if line not in made] == ["main marks", *["main waits for an event of side"] * 3]
    assert log[0] == "main marks"
