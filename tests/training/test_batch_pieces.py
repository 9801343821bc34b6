"""Pieces of a batch: they cover it, ranks share them, and steps are those of whole batches."""

import pytest
import torch
from support.training import small
from torch.nn.functional import cross_entropy

from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.training.batch_pieces import cut_batch, own_pieces, pieces_per_step
from starcli.training.run import TrainingRun
from starcli.training.seeds import generator
from starcli.training.train import PlainObjective


@pytest.mark.parametrize(("length", "count"), [(128, 1), (128, 3), (7, 3), (5, 8), (3, 2), (2, 2), (1, 4)])
def test_pieces_cover_a_batch(length, count):
    pieces = cut_batch(length, count)
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(length))
    assert sum(piece.weight for piece in pieces) == pytest.approx(1)
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 1 or length == 1
    assert len(pieces) == count or 2 * (len(pieces) + 1) > length  # one more would have a single example


@pytest.mark.parametrize("length", [64, 5, 2])
def test_ranks_share_the_pieces(length, monkeypatch):
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "_world", distributed._World(rank, 3))
        shares.append(own_pieces(length, 6))
    done = [piece for share in shares for piece in share if piece.weight]
    assert done == cut_batch(length, 6)
    assert all(shares)  # an idle rank computes too, for nothing: it takes part in every exchange


def test_draws_are_a_multiple_of_the_ranks(monkeypatch):
    assert pieces_per_step(None, 8) == 1
    monkeypatch.setattr(distributed, "_world", distributed._World(1, 4))
    assert [pieces_per_step(asked, 8) for asked in (None, 4, 8)] == [4, 4, 8]
    with pytest.raises(StarcliError, match="cannot be shared by 4 ranks"):
        pieces_per_step(6, 8)
    with pytest.raises(StarcliError, match="cannot be cut"):
        pieces_per_step(None, 3)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("limit", [50, 60, 41, 42])
def test_an_epoch_by_hand_whatever_its_pieces(pieces, limit):
    """Batches of 20, the last one shorter, or of a single example and left out; pieces of 7, 7 and 6, or 4, 3 and 3."""
    where = small("mlp", limit=limit, hidden_dim=8)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.1, momentum=0, weight_decay=0, schedule="constant")
    network, [(inputs, labels)] = where.network(0).network, where.dataset.train.batches(limit)
    order = torch.randperm(limit, generator=generator(0, "order", 0))
    batches = [each for each in order.split(20) if len(each) > 1]
    losses = []
    for batch in batches:
        loss = cross_entropy(network(inputs[batch]), labels[batch])
        losses.append(loss.item() * len(batch))
        for parameter, slope in zip(network.parameters(), torch.autograd.grad(loss, network.parameters()), strict=True):
            parameter.data -= 0.1 * slope
    objective = PlainObjective(where, where.network(0), recipe)
    [row] = TrainingRun(objective, where.dataset, recipe, 0, pieces=pieces).run()
    assert row["loss"] == pytest.approx(sum(losses) / sum(map(len, batches)), rel=1e-5)
    for own, other in zip(objective.flat.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
