"""Files from strangers, of every kind that is read: refused in one error, quickly, and nothing of them is run."""

import cProfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliability import hostile
from reliability.trial import import_packages
from starcli.errors import StarcliError

SLOW = ("100 MB", "unfolds", "bomb", "100,000", "million", "300,000", "20,000 tensors", "20,000 empty", "blocks",
        "products", "50,000", "1,900", "500,000", "ranges multiplied", "4 MB", "4 GB")  # fmt: skip
CASES = [(kind, case) for kind, case in hostile.cases() if not any(word in case.name for word in SLOW)]

MOST_CALLS = 5_000_000
"""Some 2 s of them; the worst case makes 1.5 million. `python -m tests.reliability` takes the times."""


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Fail where the block made more calls of functions, Python's or C's: the same number on every machine."""
    profile = cProfile.Profile()
    with profile:
        yield
    made = sum(entry.callcount for entry in profile.getstats())
    assert made <= calls, f"{made:,} calls"


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What is imported late must not count."""
    import_packages()


def test_calls_are_counted() -> None:
    with at_most(1_010):
        [abs(number) for number in range(1_000)]
    with pytest.raises(AssertionError, match="calls"), at_most(900):
        [abs(number) for number in range(1_000)]


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind}: {case.name}" for kind, case in CASES])
def test_a_hostile_file_is_refused_and_leaves_nothing(kind: str, case: hostile.Case, tmp_path: Path) -> None:
    path = case.make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    refused: StarcliError | None = None
    with at_most(MOST_CALLS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders remark on damage
        try:
            case.read(path)
        except StarcliError as error:
            refused = error
    assert refused or case.harmless
    if refused:
        assert all(line.isprintable() for line in (refused.summary, *refused.problems))
        assert len(str(refused)) < 250_000
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for content in list(hostile.checkpoints.truncations())[::7]:
        path.write_bytes(content)
        with pytest.raises(StarcliError):
            hostile.read_checkpoint(path)
