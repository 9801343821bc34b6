"""Spectral normalisation: the weights that it divides, and the vectors that it keeps for them.

W / sigma with sigma = u^T W v, where u and v are the leading singular vectors of W, seen as a matrix. torch keeps u and
v as buffers and moves them by a step of power iteration in each forward pass of training. Miyato et al. 2018.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

LARGEST_GRAM = 512
"""Sides up to which the Gram matrix is decomposed (0.1 s); above, Lanczos iterations are quicker."""


LANCZOS_STEPS = 24
"""Steps in which sigma comes within 1e-5 at points of lines between trained networks (measured)."""


INVARIANT = 1e-4
"""A direction that adds less than this part to the space found so far adds nothing but rounding."""


@dataclass(frozen=True)
class NormalisedWeight:
    """A weight under spectral normalisation: how torch sees it as a matrix, and where the vectors are.

    name: of the module, or of the parametrisation, that holds the buffers `left` (u) and `right` (v).
    """

    name: str
    holder: nn.Module
    left: str
    right: str
    norm: SpectralNorm | _SpectralNorm
    parametrizations: ParametrizationList | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Names of u and v in the state dict."""
        return tuple(f"{self.name}.{each}".lstrip(".") for each in (self.left, self.right))  # type: ignore[return-value]

    def vectors(self) -> tuple[Tensor, Tensor]:
        """u (m,) and v (n,) as they lie in the network."""
        return getattr(self.holder, self.left), getattr(self.holder, self.right)

    def matrix(self) -> Tensor:
        """The weight before it is divided, as a matrix (m, n)."""
        if isinstance(self.norm, SpectralNorm):
            return self.norm.reshape_weight_to_matrix(getattr(self.holder, self.norm.name + "_orig"))
        assert self.parametrizations is not None
        return self.norm._reshape_weight_to_matrix(_before(self.parametrizations, self.norm))


def _before(parametrizations: ParametrizationList, norm: nn.Module) -> Tensor:
    """What `norm`, one of several parametrisations of one weight, is given."""
    names = ["original"] if parametrizations.is_tensor else [f"original{i}" for i in range(parametrizations.ntensors)]
    given: list[Tensor] = [getattr(parametrizations, name) for name in names]
    for each in parametrizations:
        if each is norm:
            break
        given = [each(*given)]
    return given[0]


def normalised_weights(network: nn.Module) -> Iterator[NormalisedWeight]:
    """All weights of a network under `torch.nn.utils.spectral_norm` or `parametrizations.spectral_norm`.

    >>> network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)))
    >>> [each.names for each in normalised_weights(network)]
    [('0.parametrizations.weight.0._u', '0.parametrizations.weight.0._v')]
    """
    for name, module in network.named_modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                yield NormalisedWeight(name, module, f"{hook.name}_u", f"{hook.name}_v", hook)
        if isinstance(module, ParametrizationList):
            for position, norm in enumerate(module):
                if isinstance(norm, _SpectralNorm) and hasattr(norm, "_u"):  # vectors are divided by their length
                    yield NormalisedWeight(f"{name}.{position}", norm, "_u", "_v", norm, module)


def spectral_vector_names(network: nn.Module) -> set[str]:
    """Names of all buffers that hold singular vectors."""
    return {name for each in normalised_weights(network) for name in each.names}


@torch.no_grad()
def solve_spectral_norms_(network: nn.Module) -> None:
    """Set all u and v to the leading singular vectors of the present weights, as endless power iteration would.

    >>> layer = nn.utils.spectral_norm(nn.Linear(4, 3, bias=False))
    >>> solve_spectral_norms_(layer)
    >>> _ = layer.eval()(torch.zeros(1, 4))
    >>> round(float(torch.linalg.matrix_norm(layer.weight.detach(), 2)), 5)
    1.0
    """
    for each in normalised_weights(network):
        for vector, found in zip(each.vectors(), singular_pair(each.matrix()), strict=True):
            vector.copy_(found)


@torch.no_grad()
def approach_spectral_norms_(weights: Iterable[NormalisedWeight]) -> None:
    """Set all u and v near the leading singular vectors of the present weights, quickly enough for each training step.

    `LANCZOS_STEPS` steps from a fixed beginning, on the network's own device. sigma is within 1e-5
    (measured), where the step of power iteration that torch makes, from the vectors of another point of a line,
    errs by 15%.
    """
    for each in weights:
        for vector, found in zip(each.vectors(), _near_pair(each.matrix()), strict=True):
            vector.copy_(found)


def _near_pair(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The best u (m,) and v (n,) of a Krylov space, by Rayleigh and Ritz, with the whole basis kept orthogonal."""
    flat = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # (short, long)
    basis = normalize(_start(len(flat)).to(flat), dim=0)[None]  # (steps, short)
    for _ in range(min(LANCZOS_STEPS, len(flat)) - 1):
        following = flat @ (flat.T @ basis[-1])
        rest = following
        for _ in range(2):  # once leaves rounding behind
            rest = rest - (basis @ rest) @ basis
        size, least = rest.norm(), INVARIANT * following.norm()
        basis = torch.cat([basis, torch.where(size > least, rest / size, 0)[None]])
    inside = basis @ flat  # (steps, long)
    small = (inside @ inside.T).cpu()  # (steps, steps): quicker there, and not every device can
    short = torch.linalg.eigh(small).eigenvectors[:, -1].to(flat) @ basis
    long = normalize(flat.T @ short, dim=0)
    return (long, short) if flat is not matrix else (short, long)


@lru_cache(maxsize=64)
def _start(size: int) -> Tensor:
    """A direction to begin at, in which no part of the answer is likely to lack, as a vector of ones may."""
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def singular_pair(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Leading singular vectors u (m,) and v (n,) of a matrix (m, n), in float64 on the CPU, with u^T M v > 0.

    Of the two such pairs, (u, v) and (-u, -v), the one in which the largest entry of the shorter vector is positive;
    of equal singular values, any. Zeros in the longer one for a matrix of zeros. The same matrix gives the same ones.
    """
    whole = matrix.detach().cpu().double()
    flat = whole.T if whole.shape[0] > whole.shape[1] else whole  # (short, long)
    short = _leading(flat)
    short = short * torch.sign(short[short.abs().argmax()])
    long = normalize(flat.T @ short, dim=0)
    return (long, short) if flat is not whole else (short, long)


def _leading(flat: Tensor) -> Tensor:
    """Leading left singular vector of a matrix (m, n), m <= n."""
    if len(flat) <= LARGEST_GRAM or not flat.any():
        vectors: Tensor = torch.linalg.eigh(flat @ flat.T).eigenvectors  # (m, m), singular values rising
        return vectors[:, -1]
    from scipy.sparse.linalg import svds  # a tenth of a second, which most commands have no use for

    found, _, _ = svds(flat.numpy(), k=1, v0=_start(len(flat)).numpy(), tol=1e-9, return_singular_vectors="u")
    return torch.from_numpy(np.ascontiguousarray(found[:, 0]))
