"""Made-up inputs against every reader; `python -m tests.reliability fuzz` does 100,000 of each."""

import warnings
from pathlib import Path

import pytest

from reliability import fuzz, generated, structured
from reliability.costs import Costs
from reliability.sections import FOUND
from reliability.targets import Feeder, Target, file_name, targets
from reliability.trial import have_packages

TARGETS = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_read_or_are_refused(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fuzz.run(TARGETS[name], 250, tmp_path, tmp_path / "found", seed=1) == []


@pytest.mark.parametrize("name", [name for name in structured.TARGETS if name in TARGETS])
def test_json_of_other_values_is_read_or_refused(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert structured.run(TARGETS[name], 150, tmp_path, tmp_path / "found", seed=1) == []


@pytest.mark.parametrize("name", generated.STRATEGIES)
def test_generated_files_read_or_are_refused(name: str, tmp_path: Path) -> None:
    assert generated.run(TARGETS[name], 100, tmp_path, tmp_path / "found") == []


def test_a_reader_that_breaks_is_noticed_and_its_case_kept(tmp_path: Path) -> None:
    """The trials themselves: an error that is none of ours, memory, and time."""

    def read(content: bytes) -> None:
        if b"1" in content:
            raise KeyError(content)
        if b"2" in content:
            bytearray(b"x") * (300 << 20)
        if b"3" in content:
            costs._began -= 3

    feeder = Feeder(Target("broken", [b"0"], read), tmp_path, tmp_path / "found")
    costs: Costs = feeder.costs
    assert feeder.feed(b"0") == []
    assert feeder.feed(b"1") == ["KeyError: b'1'"]
    [memory] = feeder.feed(b"2")
    assert 200 < int(memory.removeprefix("took ").removesuffix(" MB")) <= 320
    assert feeder.feed(b"3") == ["took 3.0 s"]
    assert feeder.feed(b"0") == []
    costs.close()
    assert {path.read_bytes() for path in (tmp_path / "found").iterdir()} == {b"1", b"2", b"3"}


def test_cases_that_once_broke_a_reader_do_no_more(tmp_path: Path) -> None:
    """Those that `python -m tests.reliability fuzz` has kept."""
    for path in sorted(FOUND.glob("*")):
        named = [target for name, target in TARGETS.items() if path.name.startswith(file_name(name) + ".")]
        assert named or not have_packages(), path.name
        if not named:
            continue
        feeder = Feeder(named[0], tmp_path, tmp_path / "found")
        assert feeder.feed(path.read_bytes()) == [], path.name
        feeder.costs.close()
