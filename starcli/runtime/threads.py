"""Number of CPU threads: small networks run faster on one; independent pieces of work run side by side."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import nn

from starcli.runtime import distributed

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

ONE_THREAD_BELOW = 4_000_000
"""Floating-point operations an example, below which one thread is best.

Handing a layer's work to a second thread then takes longer than doing it, and two such programs on one machine slow
each other a hundredfold (measured: a step of 14 ms became 1.8 s).
"""


def operations_per_example(network: nn.Module, example: torch.Tensor) -> int:
    """Floating-point operations of a forward pass, an example: two for each weight that meets an activation.

    Counted over convolutions and linear layers, in a pass over the examples (B, ...).
    """
    counts: list[int] = []

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        counts.append(2 * output.numel() * weight[0].numel())

    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(example.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts) // len(example)


def choose_threads(network: nn.Module, example: torch.Tensor, asked: int | None) -> None:
    """Set torch's number of CPU threads: `asked`, or one where that is best, or all that there are.

    One is best for a small network, and for each of several ranks on a machine where nothing says how many.
    """
    if asked is not None:
        torch.set_num_threads(asked)
    elif torch.get_num_threads() > 1 and (
        distributed.crowded() or operations_per_example(network, example) < ONE_THREAD_BELOW
    ):
        torch.set_num_threads(1)


def in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], threads: int | None = None
) -> Iterator[_Result]:
    """Yield `work(item)` of each item, in order, computed by `threads` threads (default: torch's number).

    Each thread has its share of the cores: two teams on the same ones wait for each other. With one thread, or one
    item, nothing is started. The first error ends all; a signal does not wait for unfinished items (see
    `distributed.end_process`).
    """
    cores = torch.get_num_threads()
    workers = max(1, min(threads or cores, len(items)))
    if workers == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, initializer=_take, initargs=(max(1, cores // workers),))
    patient = True
    try:
        yield from pool.map(work, items)
    except BaseException as error:
        patient = isinstance(error, Exception)
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)
        torch.set_num_threads(cores)


def _take(threads: int) -> None:
    """Let this thread use `threads` cores."""
    torch.get_num_threads()  # a thread that looks for the first time takes the process's number: only then is it ours
    torch.set_num_threads(threads)
