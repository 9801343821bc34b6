"""How t, the place on the line from the star (0) to a source (1), is drawn at each step."""

from collections.abc import Callable

import torch

Sampling = Callable[[torch.Generator], float]


def uniform_t(generator: torch.Generator) -> float:
    """t ~ Unif[0, 1], the method of the paper."""
    return float(torch.rand(1, generator=generator, dtype=torch.float64))


def beta_t(generator: torch.Generator) -> float:
    """t ~ Beta(2, 2), density 6 t (1 - t): the middle one of three uniform draws."""
    return float(torch.rand(3, generator=generator, dtype=torch.float64).median())


def constant_t(generator: torch.Generator) -> float:
    """t = 0.5."""
    return 0.5
