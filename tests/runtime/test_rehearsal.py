"""Rehearsals: the clock against what work would really take, and that work in earnest is as it was."""

import time

import pytest
import torch

from starcli.runtime.rehearsal import (
    alike_if_rehearsed,
    few_if_rehearsed,
    once_if_rehearsed,
    present_rehearsal,
    rehearsing,
)


def _epoch(steps: int, seconds: float) -> int:
    return sum(1 for _ in few_if_rehearsed(range(steps), steps) if time.sleep(seconds) is None)


def test_the_clock_tells_the_time_of_nested_work() -> None:
    began = time.perf_counter()
    with rehearsing() as found:
        for number in range(50):  # 50 epochs of 200 steps of 2 ms and an evaluation of 20 ms
            once_if_rehearsed("steps", lambda: _epoch(200, 0.002), count=200)
            once_if_rehearsed(f"evaluation {number % 2}", lambda: time.sleep(0.02))
    assert time.perf_counter() - began < 5
    assert found.parts["steps"].count == 50 * 200
    assert found.parts["steps"].seconds == pytest.approx(50 * 200 * 0.002, rel=0.5)
    assert found.parts["evaluation 1"].count == 25
    assert found.now() >= sum(part.seconds for part in found.parts.values())


def test_the_first_turn_of_a_loop_is_no_measure() -> None:
    with rehearsing() as found:
        for number in few_if_rehearsed(range(1000), 1000):
            time.sleep(0.001 if number else 0.4)  # what is loaded or compiled first
    assert found.now() < 5  # 0.4 s and 999 of about 1 ms, not 1000 of 0.4 s


def test_one_result_stands_for_those_that_were_left_out() -> None:
    with rehearsing():
        found = alike_if_rehearsed("naps", list(range(10_000)), lambda some: [time.sleep(0.2) or each for each in some])
    assert len(found) == 10_000
    assert found[:3] == [0, 1, 2]
    assert len(set(found)) < 100


def test_the_clock_waits_for_gpus_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    uses = {"is_available": lambda: True, "device_count": lambda: 3, "memory_reserved": lambda number: number % 2}
    for name, use in {**uses, "synchronize": waited.append}.items():
        monkeypatch.setattr(torch.cuda, name, use)
    with rehearsing() as found:
        found.now()
    assert waited == [1]


def test_in_earnest_everything_is_done() -> None:
    assert present_rehearsal() is None
    assert list(few_if_rehearsed(iter(range(10_000)), 10_000)) == list(range(10_000))
    assert [once_if_rehearsed("the same", lambda number=number: number) for number in range(5)] == list(range(5))
    assert alike_if_rehearsed("all", [1, 2, 3], list) == [1, 2, 3]
