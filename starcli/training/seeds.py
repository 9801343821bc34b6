"""Random numbers by counter: every draw has its own seed, made from the run's seed and the draw's place in the run.

Nothing random then needs to be carried from step to step: the permutation of epoch 7 or the crop offsets of its step 12
come out the same whether a run reached them at once, after an interruption, or beside other runs.
"""

from hashlib import blake2b

import torch


def substream(seed: int, *place: int | str) -> int:
    """The seed, in [0, 2^63), of the draw at `place` in the run of `seed`: `substream(0, "order", epoch)`."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *place: int | str) -> torch.Generator:
    """A CPU generator at `substream(seed, *place)`."""
    return torch.Generator().manual_seed(substream(seed, *place))
