"""Null spaces against spaces that are known, sparse integer vectors against brute force."""

import itertools

import pytest
import torch

from starcli.symmetry.kinds.null_space import null_space, sparse_integers


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_planted_null_space(rank):
    generator = torch.Generator().manual_seed(rank)
    left, right = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((40, rank), (rank, 5)))
    scales = torch.logspace(-6, 6, 5, dtype=torch.float64)  # one column in other units than the next
    found = null_space(left @ right * scales)
    assert found is not None
    assert len(found) == 5 - rank
    torch.testing.assert_close(right @ (found * scales).T, torch.zeros(rank, 5 - rank).double())


def test_what_lies_between_zero_and_not_zero_is_no_answer():
    matrix = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    matrix[:, 2] = matrix[:, 1]
    matrix[2, 2] += 1e-9
    assert null_space(matrix) is None


@pytest.mark.parametrize("seed", range(5))
def test_sparse_vectors_are_those_of_brute_force(seed):
    generator = torch.Generator().manual_seed(seed)
    planted = torch.tensor([[1, 1, -1, 0, 0, 0], [0, 0, 0, 2, -1, 0], [0, 0, 1, 0, 0, -1]], dtype=torch.float64)
    mixed = torch.randn(3, 3, generator=generator, dtype=torch.float64) @ planted
    others = torch.linalg.qr(planted.T, mode="complete").Q[:, 3:]
    for vector in sparse_integers(mixed):
        assert float((torch.tensor(vector, dtype=torch.float64) @ others).abs().max()) < 1e-9
    small = [
        v
        for v in itertools.product((-2, -1, 0, 1, 2), repeat=6)
        if any(v) and float((torch.tensor(v, dtype=torch.float64) @ others).abs().max()) < 1e-9
    ]
    least = sorted(sum(map(abs, v)) for v in small if next(x for x in v if x) > 0)
    assert [sum(map(abs, v)) for v in sparse_integers(mixed)][:2] == [*least[:1], 3]


def test_halves_become_whole():
    assert sparse_integers(torch.tensor([[1.0, 0.5, -0.5]])) == [(2, 1, -1)]
    assert sparse_integers(torch.tensor([[1.0, 2**0.5]], dtype=torch.float64)) == []
    assert sparse_integers(torch.zeros(0, 4)) == []


@pytest.mark.parametrize("first", [1e-5, -1e-7, 1e-9])
def test_rounding_where_all_vectors_are_zero_is_no_entry(first):
    """A gate at weights near zero does next to nothing: its exponent is 0 but for rounding, wherever it stands."""
    basis = torch.tensor([[first, 1.0, 1.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 2.0, -first, -2.0]], dtype=torch.float64)
    assert sparse_integers(basis[:1], 1e-3) == [(0, 1, 1, 0, -1, 0)]
    assert sparse_integers(basis, 1e-3) == [(0, 0, 0, 1, 0, -1), (0, 1, 1, 0, -1, 0)]


@pytest.mark.parametrize("readers", [2, 12])
def test_known_vectors_are_not_found_again(readers):
    """A filter that norms read, of which each may scale its own way: all ways are found, and the filter's alone."""
    own = torch.block_diag(*[torch.tensor([[1.0, 1.0, -1.0]])] * readers)
    own = torch.cat([torch.zeros(readers, 1), own], 1)  # scale, shift, and what reads it
    whole = torch.cat([torch.ones(1), torch.tensor([-1.0, 0.0, 0.0]).repeat(readers)])
    planted = torch.cat([own, whole[None]]).double()
    mixed = torch.randn(len(planted), len(planted), generator=torch.Generator().manual_seed(0)).double() @ planted
    known = [tuple(map(int, each)) for each in own.tolist()]
    assert set(sparse_integers(mixed)) == {*known, tuple(map(int, whole))}
    assert sparse_integers(mixed, known=known) == [tuple(map(int, whole))]
    assert sparse_integers(planted[:-1], known=known) == []
    halves = [known[0], tuple(a + b for a, b in zip(known[0], known[1], strict=True))]
    assert len(sparse_integers(mixed, known=halves)) == readers - 1


def test_known_vectors_at_all_coordinates():
    """Where what is left has no coordinate of its own, all are looked for."""
    basis = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    assert sparse_integers(basis, known=[(1, 1, 1, 1)]) == [(0, 0, 1, 1), (1, 1, 0, 0)]
