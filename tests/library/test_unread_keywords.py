"""What a call would not read, or cannot, is refused in the package's words."""

from typing import Any

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.averaging.sampling import sampling_of


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: sc.predict(a, seed=3), "seed is for points between models: they need a star"),
        (lambda a: sc.predict(a, alignment="weight"), "alignment is for points between models"),
        (lambda a: sc.predict(a, sources=[a]), "sources is for points between models"),
        (lambda a: sc.interpolate(a, perturb=1.0, alignment="weight"), "takes one model, and alignment needs two"),
        (lambda a: sc.fuse([a, a], method="linear", weights="ab"), "weights='ab': expected a number"),
        (lambda a: sc.fuse([a, a], method="ties", base=a, density="x"), "density='x': expected a number"),
        (lambda a: sc.report([]), "no file or directory is given"),
    ],
    ids=map(str, range(7)),
)
def test_what_would_not_be_read_is_refused(call: Any, words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(network())


def test_a_function_that_draws_beyond_the_ends_of_a_line_is_refused() -> None:
    draw_t = sampling_of(lambda _: 1.5)
    with pytest.raises(sc.StarcliError, match=r"gave t = 1.5, expected 0 to 1"):
        draw_t(torch.Generator())
