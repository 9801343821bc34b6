"""Complex numbers that act on pairs of units: z = a + i b as the matrix [[a, -b], [b, a]] of each pair.

These are all matrices that commute with the rotations of every pair by angles of its own, as rotary positions make them
(Su et al. 2021, "RoFormer"). Where the inverse transpose acts, 1 / conj(z) does.
"""

import torch
from torch import Tensor

from starcli.symmetry.archspec.kind_names import PairLayout


def pair_slices(n: int, layout: PairLayout) -> tuple[slice, slice]:
    """Where the real and the imaginary parts of n / 2 numbers stand among n units."""
    return (slice(0, n // 2), slice(n // 2, n)) if layout == "halves" else (slice(0, n, 2), slice(1, n, 2))


def pair_matrices(z: Tensor, layout: PairLayout) -> Tensor:
    """The real matrices (..., n, n) of complex numbers z (..., n / 2).

    >>> pair_matrices(torch.tensor([2 + 1j]), "halves")
    tensor([[ 2., -1.],
            [ 1.,  2.]])
    """
    n = 2 * z.shape[-1]
    first, second = pair_slices(n, layout)
    made = z.real.new_zeros(*z.shape[:-1], n, n)
    for rows, columns, values in (
        (first, first, z.real),
        (first, second, -z.imag),
        (second, first, z.imag),
        (second, second, z.real),
    ):
        made[..., rows, columns].diagonal(dim1=-2, dim2=-1).copy_(values)
    return made


def pair_numbers(g: Tensor, layout: PairLayout) -> Tensor:
    """The complex numbers (..., n / 2) whose matrices are nearest to g (..., n, n); inverse of `pair_matrices`."""
    first, second = pair_slices(g.shape[-1], layout)

    def entries(rows: slice, columns: slice) -> Tensor:
        return g[..., rows, columns].diagonal(dim1=-2, dim2=-1)

    real, imaginary = entries(first, first) + entries(second, second), entries(second, first) - entries(first, second)
    return torch.complex(real, imaginary) / 2


def random_pairs(shape: tuple[int, ...], layout: PairLayout, generator: torch.Generator, *, wide: float) -> Tensor:
    """Matrices (parents..., n, n) of complex numbers of any phase, of sizes between wide / 2 and 2 wide."""
    *around, n = shape
    phase, size = torch.rand(2, *around, n // 2, generator=generator, dtype=torch.float64)
    return pair_matrices(torch.polar(wide * 2 ** (2 * size - 1), 2 * torch.pi * phase), layout)


def nearest_phases(gains: Tensor, layout: PairLayout) -> Tensor:
    """The rotations Q of pairs that maximise <Q, gains>, (..., n, n): z = c / |c| maximises Re(conj(z) c).

    >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> torch.allclose(nearest_phases(3 * quarter_turn, "halves"), quarter_turn)
    True
    """
    c = pair_numbers(gains, layout)
    return pair_matrices(torch.where(c == 0, 1.0, c / c.abs()), layout)


def phase_values(gains: Tensor, layout: PairLayout) -> Tensor:
    """The largest gain by rotations of pairs, (...): twice the sum of |c|."""
    return 2 * pair_numbers(gains, layout).abs().sum(-1)


def balancing_pairs(written: Tensor, read: Tensor, layout: PairLayout, power: float = 1.0) -> tuple[Tensor, float]:
    """The positive scales of pairs that make |g W|^2 + |g^-1 R|^2 least, as g (..., n, n), and the largest logarithm.

    For W = `written` and R = `read`, (..., n, rest): sqrt(|R_p| / |W_p|) for each pair p, and 1 where nothing writes or
    reads it. Its phase is no part of it. `power`: of g; 1/2 is half way there.
    """
    first, second = pair_slices(written.shape[-2], layout)
    w, r = (each[..., first, :].square().sum(-1) + each[..., second, :].square().sum(-1) for each in (written, read))
    logs = power * torch.where((w > 0) & (r > 0), (r / w).log() / 4, 0.0)
    return pair_matrices(torch.complex(logs.exp(), torch.zeros_like(logs)), layout), float(logs.abs().max())
