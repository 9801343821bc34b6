"""One thread a worker, a cache of its own, and a few small models that the program itself trained."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two workers with two threads each crawl
os.environ.pop("COLUMNS", None)  # workers inherit 80 from readline; tables in a pipe are as wide as they have to be

import pytest
from hypothesis import HealthCheck, settings
from support.program import TRAIN, Ran, run_here

from starcli.runtime.garbage import begin_garbage_collection, put_off_garbage_collection

put_off_garbage_collection()  # what test files import stays: to walk through it took a quarter of their time


def pytest_collection_finish() -> None:
    begin_garbage_collection()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: where one is begun last, the other worker waits for its end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


# hypothesis' own profile for CI: the time of an example by the clock tells how busy the machine is (a draw of 1.2 s
# failed a test in version 6.100); what must be quick is tested in calls or in processor time
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def threads() -> Iterator[None]:
    """For tests that set torch's number of threads: it is what it was afterwards."""
    import torch  # not above: the process that starts the workers would import it before them

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or left in the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def _no_waits_for_disks() -> Iterator[None]:
    """Files of tests need not survive a power cut: each wait for the disk is several milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def starcli() -> Callable[..., Ran]:
    return run_here


@pytest.fixture(scope="session")
def mlp():
    """A workspace of a network that has not been trained."""
    from support.training import small  # imports much that most tests do not need

    return small("mlp", hidden_dim=16)


@pytest.fixture(scope="session")
def resnet():
    """The same with convolutions and BatchNorm."""
    from support.training import small

    return small("resnet", limit=130, width=4, stages=2)


@dataclass(frozen=True)
class Solutions:
    """Five small networks trained on the digits by the program itself, in `directory`: 0.safetensors and so on."""

    directory: Path

    def __getitem__(self, number: int) -> Path:
        return self.directory / f"{number}.safetensors"

    def some(self, *numbers: int) -> list[Path]:
        return [self[number] for number in numbers]


@pytest.fixture(scope="session")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> Solutions:
    """Shared by all tests of a worker: never write into its directory."""
    directory = tmp_path_factory.mktemp("solutions")
    ran = run_here("train", *TRAIN, "--val-fraction", "0.2", "--seeds", "0-4", "-o", directory / "{seed}.safetensors")
    assert ran.status == 0, ran.err
    return Solutions(directory)


@pytest.fixture(scope="session")
def star(solutions: Solutions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A star of the first three, with its permuted sources in `aligned` beside it."""
    directory = tmp_path_factory.mktemp("star")
    ran = run_here(
        "star", "--sources", *solutions.some(0, 1, 2), "--aligned-sources", directory / "aligned",
        "-o", directory / "star.safetensors",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    return directory / "star.safetensors"
