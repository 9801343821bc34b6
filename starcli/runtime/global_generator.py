"""Torch's global generator of the CPU: one for all threads of a process, so that who draws from it borrows it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

BORROWED = threading.RLock()
"""Held by the thread that draws, or that has given new tensors another type, which is one for all threads as well."""


@contextmanager
def generator_borrowed() -> Iterator[torch.Generator]:
    """Context in which this thread alone draws from the global generator, whose state is as before afterwards.

    >>> with generator_borrowed() as generator:
    ...     _ = generator.manual_seed(0)
    ...     torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    with BORROWED:
        generator = torch.default_generator
        state = generator.get_state()
        try:
            yield generator
        finally:
            generator.set_state(state)
