"""Random numbers by counter: every draw has its own seed, made from the run's seed and the draw's place in the run.

Nothing random then needs to be carried from step to step: the permutation of epoch 7 or the crop offsets of its step 12
come out the same whether a run reached them at once, after an interruption, or beside other runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b

import torch

from starcli.runtime.global_generator import BORROWED
from starcli.runtime.process_setting import ProcessSetting


def substream(seed: int, *place: int | str) -> int:
    """Seed, in [0, 2^63), of the draw at `place` in the run of `seed`: `substream(0, "order", epoch)`.

    >>> substream(0, "order", 7) == substream(0, "order", 8)
    False
    """
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *place: int | str) -> torch.Generator:
    """CPU generator with the seed `substream(seed, *place)`."""
    return torch.Generator().manual_seed(substream(seed, *place))


_STATE = ProcessSetting(torch.default_generator.get_state, torch.default_generator.set_state, lock=BORROWED)
"""That of the CPU's generator, which comes back once no thread trains any more."""


@contextmanager
def generators_restored(device: torch.device) -> Iterator[None]:
    """Context after which the global generators of the CPU and of `device` are as before.

    Dropout draws from them, and admits no other.
    """
    others = nullcontext() if device.type == "cpu" else torch.random.fork_rng([device], device_type=device.type)
    with _STATE, others:
        yield


class SeededSteps:
    """Steps of a run for each of which the global generators are seeded anew.

    Where the network draws from them no other thread does meanwhile: two runs side by side are each as they are alone.
    Whether it does, the first step finds out.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._draws = None if device.type == "cpu" else True  # None: not known; generators of others are not asked

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Context of a step."""
        with BORROWED:
            seed_globally(self.device, seed)
            if self._draws is None:
                before = torch.default_generator.get_state()
                yield
                self._draws = not torch.equal(before, torch.default_generator.get_state())
                return
            if self._draws:
                yield
                return
        yield


def seed_globally(device: torch.device, seed: int) -> None:
    """Seed the global generators of the CPU and of `device`: each GPU and mps have their own."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
