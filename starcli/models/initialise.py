"""Initial weights from an explicit generator, for modules that only know torch's global one."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from starcli.runtime.global_generator import generator_borrowed


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Context in which torch's global CPU generator is seeded by one draw from `generator`, and restored afterwards.

    Layers draw their weights from the global generator and take no other, in code that is not ours (torchvision, timm)
    as well. Borrowing it keeps every initialisation, special ones too, exactly as its author wrote it.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device).item())
    with generator_borrowed() as own:
        own.manual_seed(seed)
        yield


def initialised(make: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Network made by `make`, on the CPU, its weights drawn from `generator`; the same warning is shown once."""
    with _warning_once(), drawing_from(generator), torch.device("cpu"):
        return make()


_warned: set[tuple[str, type[Warning], str, int]] = set()
"""Warnings that were shown."""


@contextmanager
def _warning_once() -> Iterator[None]:
    """Context in which no warning is shown that was shown before: a command makes its network more than once."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    for each in caught:
        key = (str(each.message), each.category, each.filename, each.lineno)
        if key not in _warned:
            _warned.add(key)
            warnings.warn_explicit(*key)


class _Unfilled(TorchFunctionMode):
    """Mode in which nothing is drawn into tensors of the meta device: that would import torch's compiler."""

    DRAWS = frozenset({"normal_", "uniform_", "bernoulli_", "erfinv_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.DRAWS:
            return args[0] if args else kwargs["tensor"]  # nn.init passes names
        return func(*args, **(kwargs or {}))


def outlined(make: Callable[[], nn.Module]) -> nn.Module:
    """Network made by `make` on the meta device: all names and shapes, no memory."""
    with torch.device("meta"), _Unfilled():
        return make()
