"""Backward passes that take the same sums each time: strict where all operators can be, said where one cannot."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.training import Stopping
from torch import Tensor

from starcli.runtime.arithmetic import RAISES, WARNS, arithmetic_restored
from starcli.runtime.backward import Backward

SEEN: list[int] = []
"""Modes of determinism of the backward passes."""


class Twice(torch.autograd.Function):
    """2 x, whose gradient notes the mode; by an operator that has no deterministic way where `awkward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, awkward: bool) -> Tensor:
        ctx.awkward = awkward
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        SEEN.append(torch.get_deterministic_debug_mode())
        found = 2 * gradients[0]
        if ctx.awkward:  # `put_` is one on the CPU, too
            found = torch.zeros_like(found).put_(torch.arange(found.numel()), found)
        return found, None


@pytest.fixture(autouse=True)
def _determinism() -> Iterator[None]:
    SEEN.clear()
    with arithmetic_restored():
        torch.set_deterministic_debug_mode(WARNS)
        yield


def gradients(backward: Backward, awkward: bool, steps: int = 3) -> list[float]:
    """The gradient of 2 x^2 at 3 after each of some passes, the last two added up."""
    x, found = torch.tensor([3.0], requires_grad=True), []

    def clear() -> None:
        x.grad = None

    for step in range(steps):
        if step < 2:
            clear()
        # the square's gradient is there before the other one fails
        backward((x * Twice.apply(x, awkward)).sum(), clear)
        assert x.grad is not None
        found.append(x.grad.item())
    return found


def test_attention_may_rely_on_the_strict_mode() -> None:
    progress = Stopping()
    assert gradients(Backward(progress), awkward=False) == [12, 12, 24]
    assert SEEN == [RAISES] * 3
    assert torch.get_deterministic_debug_mode() == WARNS
    assert not progress.notes


@pytest.mark.filterwarnings("ignore:put_")
def test_an_operator_that_cannot_is_said_once_and_the_run_goes_on() -> None:
    progress = Stopping()
    assert gradients(Backward(progress), awkward=True) == [12, 12, 24]
    assert SEEN == [RAISES, WARNS, WARNS, WARNS]
    [note] = progress.notes
    assert note.startswith("the same line need not give the same bits again: put_")


@pytest.mark.filterwarnings("ignore:put_")
@pytest.mark.parametrize("awkward", [False, True])
def test_gradients_that_are_returned_are_the_same_in_the_same_modes(awkward: bool) -> None:
    progress = Stopping()
    backward, x, other = Backward(progress), torch.tensor([3.0], requires_grad=True), torch.ones(2, requires_grad=True)
    for _ in range(2):
        found, nothing = backward.gradients((x * Twice.apply(x, awkward)).sum(), [x, other])
        assert found.item() == 12
        assert torch.equal(nothing, torch.zeros(2))
    assert x.grad is None
    assert ([RAISES, WARNS, WARNS] if awkward else [RAISES] * 2) == SEEN
    assert len(progress.notes) == awkward


def test_other_errors_come_through() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="scalar"):
        Backward(Stopping())(2 * x, lambda: None)


def test_nothing_changes_where_sums_may_differ_or_steps_are_compiled() -> None:
    assert gradients(Backward(Stopping(), compiled=True), awkward=False) == [12, 12, 24]
    torch.set_deterministic_debug_mode(0)
    assert gradients(Backward(Stopping()), awkward=True) == [12, 12, 24]
    assert SEEN == [WARNS] * 3 + [0] * 3
