"""Runs killed, stopped, starved and started twice: nothing is lost, nothing is left, and it is said in one line.

And all commands under an audit hook: no file but the named ones and our own, no network, no other process. Samples of
`python -m tests.reliability kills signals faults numbers audit`.
"""

import pytest
from support.reliability import Found, sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples() -> dict[str, Found]:
    return sample("resume", "fault", "audit")


def test_killed_runs_go_on_to_the_same_bytes(samples: dict[str, Found]) -> None:
    found = samples["resume"]
    assert {case: defects for case, (_, defects) in found.items() if defects} == {}
    assert sum(trials for trials, _ in found.values()) >= 14


def test_what_the_system_refuses_is_one_line_and_harms_nothing(samples: dict[str, Found]) -> None:
    found = samples["fault"]
    assert {case: defects for case, (_, defects) in found.items() if defects} == {}
    assert len(found) >= 14


def test_commands_touch_only_what_they_are_told_to(samples: dict[str, Found]) -> None:
    [(trials, defects)] = samples["audit"].values()
    assert defects == []
    assert trials >= 14
