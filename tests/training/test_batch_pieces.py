"""Pieces of a batch: they cover it, and ranks share them."""

import pytest

from starcli.errors import StarcliError
from starcli.runtime import distributed
from starcli.training.batch_pieces import cut_batch, own_pieces, pieces_per_step


@pytest.mark.parametrize(("length", "count"), [(128, 1), (128, 3), (7, 3), (5, 8), (3, 2), (2, 2), (1, 4)])
def test_pieces_cover_a_batch(length, count):
    pieces = cut_batch(length, count)
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(length))
    assert sum(piece.weight for piece in pieces) == pytest.approx(1)
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 1 or length == 1


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
