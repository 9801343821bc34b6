"""Threads by the size of the work."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from starcli.runtime import distributed
from starcli.runtime.distributed import Lost
from starcli.runtime.threads import choose_threads, in_threads, operations_per_example


def test_operations_are_two_for_each_weight_and_activation() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    assert operations_per_example(network, torch.zeros(2, 3, 6, 6)) == 2 * (8 * 6 * 6) * (3 * 9) + 2 * 10 * (8 * 6 * 6)


@pytest.mark.usefixtures("threads")
def test_a_small_network_gets_one_thread_and_a_wish_is_granted() -> None:
    network = nn.Sequential(nn.Linear(8, 4))
    torch.set_num_threads(2)
    choose_threads(network, torch.zeros(2, 8), None)
    assert torch.get_num_threads() == 1
    choose_threads(network, torch.zeros(2, 8), 2)
    assert torch.get_num_threads() == 2


LARGE = nn.Sequential(nn.Linear(1500, 1500))
"""More than 4 million operations an example."""


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("environment", "asked", "expected"),
    [
        ({}, None, 3),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, None, 1),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, 2, 2),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}, None, 3),
        ({"WORLD_SIZE": "2", "OMP_NUM_THREADS": "3"}, None, 3),
        ({"WORLD_SIZE": "2", "OMP_NUM_THREADS": "3"}, 2, 2),
    ],
    ids=str,
)
def test_ranks_of_one_machine_get_one_thread_where_nothing_says_how_many(
    environment: dict[str, str], asked: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the ranks meet before or after the choice."""
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def nobody(_: str) -> None:
        raise RuntimeError("nobody here")

    # not by its name: the package has a function of that name too
    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", nobody)
    torch.set_num_threads(3)
    choose_threads(LARGE, torch.zeros(2, 1500), asked)
    assert torch.get_num_threads() == expected
    with pytest.raises(Lost, match="nobody here") if environment else nullcontext(), distributed.group():
        pass
    assert torch.get_num_threads() == expected


@pytest.mark.usefixtures("threads")
def test_nested_threads_share_the_cores():
    """Each inner piece has the share of its share, whatever other threads set meanwhile."""

    def inner(_):
        return torch.get_num_threads()

    def outer(_):
        own = torch.get_num_threads()
        return own, list(in_threads(inner, range(2)))

    torch.set_num_threads(4)
    for _ in range(20):
        assert list(in_threads(outer, range(2))) == [(2, [1, 1])] * 2
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("threads")
def test_the_first_error_of_a_thread_ends_all():
    def work(number):
        if number == 1:
            raise ValueError("one")
        return number

    with pytest.raises(ValueError, match="one"):
        list(in_threads(work, range(8), threads=1))
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="one"):
        list(in_threads(work, range(8)))
    assert torch.get_num_threads() == 2


AT_WORK = """
import os, signal, threading, time, torch
from starcli.runtime import distributed
from starcli.runtime.threads import in_threads
torch.set_num_threads(2)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    list(in_threads(time.sleep, [100, 100]))
except KeyboardInterrupt:
    print("left", flush=True)
    distributed.end_process(130)
"""


def test_a_signal_waits_for_no_thread():
    ran = subprocess.run([sys.executable, "-c", AT_WORK], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (130, "left\n")
