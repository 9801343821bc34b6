"""How t, the place on the line from the star (0) to a source (1), is drawn: in a search for a star, and in averages."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from starcli.errors import StarcliError, unknown
from starcli.evaluation.renormalise import Renormalise
from starcli.registry.entry import resolve
from starcli.registry.samplings import SAMPLINGS
from starcli.runtime.rehearsal import few_if_rehearsed

Sampling = Callable[[torch.Generator], float]


def uniform_t(generator: torch.Generator) -> float:
    """t ~ Unif[0, 1], the method of the paper."""
    return float(torch.rand(1, generator=generator, dtype=torch.float64))


def beta_t(generator: torch.Generator, a: float = 2, b: float = 2) -> float:
    """t ~ Beta(a, b), density in proportion to t^(a - 1) (1 - t)^(b - 1); mean a / (a + b)."""
    if a == b == 2:  # the middle one of three uniform draws, as stars were always made by
        return float(torch.rand(3, generator=generator, dtype=torch.float64).median())
    from scipy.special import betaincinv

    return float(betaincinv(a, b, uniform_t(generator)))


def constant_t(generator: torch.Generator, t: float = 0.5) -> float:
    """Always t."""
    return t


def midpoint_t(generator: torch.Generator) -> float:
    """t = 0.5 in half of the draws, else t ~ Unif[0, 1]."""
    chance, t = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    return 0.5 if chance < 0.5 else float(t)


def ends_t(generator: torch.Generator) -> float:
    """t = 0, the star itself, or t = 1, a source itself, with equal chance."""
    return float(torch.randint(2, (1,), generator=generator))


@dataclass(frozen=True)
class PointSampling:
    """How points (source, t) of a star domain are drawn for an average.

    sampling: how t is drawn, see `sampling_of`. in_turn: each source is drawn once before any of them again, in an
    order drawn anew each time; else the source of each point is uniform among them. Of "ends" in turn the star, which
    is one point whatever the source, comes first, then each source once.

    >>> found = PointSampling("constant:0.9", in_turn=True).points(3, 3, torch.Generator())
    >>> sorted(found)
    [(0, 0.9), (1, 0.9), (2, 0.9)]
    >>> sorted(PointSampling("ends", in_turn=True).points(3, 4, torch.Generator()))
    [(0, 0.0), (0, 1.0), (1, 1.0), (2, 1.0)]
    """

    sampling: str | Sampling = "uniform"
    in_turn: bool = False

    def __post_init__(self) -> None:
        sampling_of(self.sampling)

    def points(self, sources: int, samples: int, generator: torch.Generator) -> list[tuple[int, float]]:
        """`samples` points of the domain of so many sources."""
        draw_t = sampling_of(self.sampling)
        if not self.in_turn:
            chosen = torch.randint(sources, (samples,), generator=generator).tolist()
        elif draw_t is ends_t:
            rounds = _rounds(sources, math.ceil(samples / (1 + sources)), generator)
            return [point for each in rounds for point in ((0, 0.0), *((source, 1.0) for source in each))][:samples]
        else:
            rounds = _rounds(sources, math.ceil(samples / sources), generator)
            chosen = [source for each in rounds for source in each][:samples]
        return [(source, draw_t(generator)) for source in few_if_rehearsed(chosen, samples)]

    def settings(self) -> dict[str, Any]:
        """The way of drawing as results record it."""
        return {"sampling": sampling_name(self.sampling), "in_turn": self.in_turn}


def _rounds(sources: int, count: int, generator: torch.Generator) -> list[list[int]]:
    """`count` random orders of all sources."""
    return [torch.randperm(sources, generator=generator).tolist() for _ in few_if_rehearsed(range(count), count)]


def sampling_of(said: str | Sampling) -> Sampling:
    """The function that draws t, by its name in `starcli.registry.samplings` and numbers, "beta:5,1"; or that function.

    StarcliError for another name, and for numbers that do not go with it.

    >>> sampling_of("constant:0.9")(torch.Generator())
    0.9
    """
    if not isinstance(said, str):
        if not callable(said):
            raise unknown("sampling", str(said), SAMPLINGS)
        return said if said.__module__ == __name__ else partial(_within, said)
    name, colon, words = said.partition(":")
    function: Callable[..., float] = resolve(SAMPLINGS, "sampling", name)
    if not colon:
        return function
    takes = len(inspect.signature(function).parameters) - 1
    try:
        numbers = [float(word) for word in words.split(",")]
        fits = len(numbers) == takes and 0 <= function(torch.Generator(), *numbers) <= 1
    except ValueError:
        fits = False
    if not fits:
        raise StarcliError(f"sampling {said!r}: expected {name} for {SAMPLINGS[name].help}")
    return lambda generator: function(generator, *numbers)


def _within(said: Sampling, generator: torch.Generator) -> float:
    """Draw t by a function of the caller's own. StarcliError where it is not from 0 to 1."""
    t = float(said(generator))
    if not 0 <= t <= 1:
        raise StarcliError(f"sampling: {sampling_name(said)} gave t = {t:g}, expected 0 to 1")
    return t


def sampling_name(said: str | Sampling) -> str:
    """Name of a way to draw t in files and results: as it was typed, or module and name of a function of the caller's.

    Another function may have the same name: no result is found again by it.
    """
    if isinstance(said, str):
        return said
    return f"{said.__module__}.{getattr(said, '__qualname__', type(said).__qualname__)}"


def lies_between(said: str | Sampling) -> bool:
    """Whether a named way to draw t has points between star and source; of a function it is taken for granted.

    >>> lies_between("uniform"), lies_between("ends"), lies_between("constant:1")
    (True, False, False)
    """
    if not isinstance(said, str):
        return True
    draw_t, generator = sampling_of(said), torch.Generator()
    return any(0 < draw_t(generator) < 1 for _ in range(100))


def check_renormalised(points: PointSampling, how: Renormalise) -> None:
    """StarcliError where points between star and sources are to be renormalised, and none are drawn.

    >>> check_renormalised(PointSampling("ends"), Renormalise("repair"))
    Traceback (most recent call last):
    starcli.errors.StarcliError: --renormalise is for points between star and sources, and --sampling ends draws none
    """
    if how.active and not lies_between(points.sampling):
        said = sampling_name(points.sampling)
        raise StarcliError(f"--renormalise is for points between star and sources, and --sampling {said} draws none")


UNIFORM_POINTS = PointSampling()
"""As the paper draws them."""
