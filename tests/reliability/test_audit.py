"""All commands under an audit hook: no file but the named ones and our own, no network, no other process."""

import pytest
from support.reliability import sample


@pytest.mark.slow
def test_commands_touch_only_what_they_are_told_to() -> None:
    [(trials, defects)] = sample("audit")["audit"].values()
    assert defects == []
    assert trials >= 14
