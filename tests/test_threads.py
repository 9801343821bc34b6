"""Threads by the size of the work."""

import torch
from torch import nn

from starcli.threads import choose_threads, operations


def test_operations_are_two_for_each_weight_and_activation() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    assert operations(network, (3, 6, 6)) == 2 * (8 * 6 * 6) * (3 * 9) + 2 * 10 * (8 * 6 * 6)


def test_a_small_network_gets_one_thread_and_a_wish_is_granted() -> None:
    before = torch.get_num_threads()
    network = nn.Sequential(nn.Linear(8, 4))
    try:
        torch.set_num_threads(2)
        choose_threads(network, (8,), None)
        assert torch.get_num_threads() == 1
        choose_threads(network, (8,), 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
