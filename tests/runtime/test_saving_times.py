"""When work is saved on its way."""

import pytest

from starcli.runtime import saving_times
from starcli.runtime.saving_times import SavingTimes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(saving_times.time, "monotonic", lambda: now[0])
    return now


def test_saving_takes_a_thirtieth_of_the_time_and_happens_once_a_second_at_most(clock: list[float]) -> None:
    times = SavingTimes()
    clock[0] = 0.5
    assert not times.due()
    clock[0] = 1.0
    assert times.due()
    with times.saving():
        clock[0] += 0.2
    for later, due in ((5.9, False), (6.1, True)):
        clock[0] = 1.2 + later
        assert times.due() is due
    with times.saving():
        pass
    clock[0] += 1.0
    assert times.due()


def test_where_seconds_are_said_these_count(clock: list[float]) -> None:
    times = SavingTimes(0.0)
    with times.saving():
        clock[0] += 9.0
    assert times.due()
