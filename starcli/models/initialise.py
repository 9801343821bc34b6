"""Initial weights from an explicit generator, for modules that only know torch's global one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

# the global generator is one a process: two threads that borrow it at once would mix their draws
_BORROWED = threading.Lock()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's global CPU generator is seeded by one draw from `generator`; afterwards it is as it was.

    Layers draw their weights from the global generator and take no other, in code that is not ours (torchvision, timm)
    as well. Borrowing it keeps every initialisation, special ones too, exactly as its author wrote it.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device).item())
    with _BORROWED:
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.default_generator.set_state(state)


def initialised(make: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """The network of `make`, on the CPU, its weights drawn from `generator`."""
    with drawing_from(generator), torch.device("cpu"):
        return make()
