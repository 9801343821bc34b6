"""BatchNorm over ranks (threads here) is torch's own over the whole batch: outputs, gradients, running statistics."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from starcli.errors import StarcliError
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.training.sync_batchnorm import BatchNormOverRanks

LAYERS = {
    "1d": (nn.BatchNorm1d(4), (4,)),
    "1d with positions": (nn.BatchNorm1d(4), (4, 5)),
    "2d": (nn.BatchNorm2d(4), (4, 3, 3)),
    "3d": (nn.BatchNorm3d(4), (4, 2, 2, 2)),
    "mean over batches": (nn.BatchNorm2d(4, momentum=None), (4, 3, 3)),
    "nothing learnt": (nn.BatchNorm2d(4, affine=False), (4, 3, 3)),
    "nothing kept": (nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 3)),
}


@pytest.fixture
def ranks(monkeypatch):
    """Run a function on three threads that sum tensors as ranks do."""
    barrier, given = threading.Barrier(3, timeout=60), {}

    def sum_(vector):
        given[threading.current_thread().name] = vector.clone()
        barrier.wait()
        vector.copy_(torch.stack([given[key] for key in sorted(given)]).sum(0))
        barrier.wait()
        return vector

    monkeypatch.setattr(distributed, "sum_", sum_)
    monkeypatch.setattr(distributed, "_world", distributed._World(0, 3))

    def run(function, *arguments):
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(function, *arguments))

    return run


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sizes", [(4, 4, 4), (6, 1, 5), (7, 5, 0)])
def test_pieces_of_a_batch_are_normalised_as_the_batch(name, sizes, ranks):
    """A rank without a piece computes another's and does not count."""
    layer, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    batches = [3 + 2 * torch.randn(12, *shape, generator=generator) for _ in range(2)]
    target = torch.randn(12, *shape, generator=generator)
    whole = copy.deepcopy(layer)
    if layer.affine:
        with torch.no_grad():
            whole.weight.uniform_(0.5, 2, generator=generator)
            whole.bias.uniform_(-1, 1, generator=generator)
    layers = [copy.deepcopy(whole) for _ in sizes]
    inputs = batches[1].clone().requires_grad_()
    whole(batches[0])
    outputs = whole(inputs)
    (outputs * target).sum().backward()

    def on_rank(mine, size, end):
        rows = slice(end - size, end) if size else slice(0, 2)
        own = batches[1][rows].clone().requires_grad_()
        over_ranks = BatchNormOverRanks(mine, SILENT, sync=True)
        over_ranks.counted = size > 0
        with over_ranks:
            mine(batches[0][rows])
            found = mine(own)
            (found * target[rows] * (size > 0)).sum().backward()
        return found.detach(), own.grad

    ends = [sum(sizes[: number + 1]) for number in range(3)]
    everything = list(zip(ranks(on_rank, layers, sizes, ends), sizes, strict=True))
    found = [pair for pair, size in everything if size]
    assert not any(gradient.any() for (_, gradient), size in everything if not size)
    assert torch.allclose(torch.cat([each for each, _ in found]), outputs, atol=1e-5)
    assert torch.allclose(torch.cat([gradient for _, gradient in found]), inputs.grad, atol=1e-4)
    for mine in layers:
        for key, buffer in whole.named_buffers():
            assert torch.allclose(buffer, dict(mine.named_buffers())[key], atol=1e-5), key
        assert "forward" not in vars(mine)
    for key, parameter in whole.named_parameters():
        total = sum(dict(mine.named_parameters())[key].grad for mine in layers)
        assert torch.allclose(parameter.grad, total, atol=1e-4), key


def test_eval_mode_is_as_ever(ranks):
    layer = nn.BatchNorm1d(4).eval()
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with BatchNormOverRanks(layer, SILENT, sync=True):
        assert torch.equal(layer(inputs), nn.BatchNorm1d(4).eval()(inputs))


class Notes(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_ranks_are_told_what_they_do_to_batchnorm(monkeypatch):
    network, notes = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), Notes()
    BatchNormOverRanks(network, notes, sync=False)
    assert notes.notes == []
    monkeypatch.setattr(distributed, "_world", distributed._World(0, 2))
    BatchNormOverRanks(nn.Linear(3, 4), notes, sync=False)
    BatchNormOverRanks(network, notes, sync=True)
    assert notes.notes == []
    BatchNormOverRanks(network, notes, sync=False)
    assert "--sync-batchnorm" in notes.notes[0]


def test_what_cannot_be_synchronised_is_refused():
    class Own(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x) + 1

    with pytest.raises(StarcliError, match="no BatchNorm"):
        BatchNormOverRanks(nn.Linear(3, 4), SILENT, sync=True)
    with pytest.raises(StarcliError, match="Own computes BatchNorm in its own way"):
        BatchNormOverRanks(nn.Sequential(Own(4)), SILENT, sync=True)
