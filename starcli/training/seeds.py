"""Random numbers by counter: every draw has its own seed, made from the run's seed and the draw's place in the run.

Nothing random then needs to be carried from step to step: the permutation of epoch 7 or the crop offsets of its step 12
come out the same whether a run reached them at once, after an interruption, or beside other runs.
"""

from contextlib import AbstractContextManager
from hashlib import blake2b

import torch


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


def generators_restored(device: torch.device) -> AbstractContextManager[None]:
    """Context after which the global generators of the CPU and of `device` are as before.

    Dropout draws from them, and admits no other.
    """
    devices = [] if device.type == "cpu" else [device]
    return torch.random.fork_rng(devices=devices, device_type=device.type)


def seed_globally(device: torch.device, seed: int) -> None:
    """Seed the global generators of the CPU and of `device`: each GPU and mps have their own."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
