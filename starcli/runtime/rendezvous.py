"""How the ranks of one command find each other in torchrun's store, which may outlive a failed attempt."""

import datetime
import secrets
import time
from typing import Any

MEETING_SECONDS = 300.0
"""Seconds that ranks wait for each other at the start."""


def meet(store: Any, own: int, count: int) -> Any:
    """Return a private part of `store` for the `count` ranks that are alive now; `own` is this rank.

    torchrun's store outlives a restart, and so do the addresses of dead processes in it. Each rank therefore shows a
    random token, and rank 0 answers under that token until all have heard from it.

    Raises RuntimeError where a rank does not come within MEETING_SECONDS.
    """
    from torch.distributed.distributed_c10d import PrefixStore

    token = secrets.token_hex(8)
    if own == 0:
        end = time.monotonic() + MEETING_SECONDS
        for other in range(1, count):
            hello = f"starcli/hello/{other}"
            while not store.check([f"starcli/joined/{token}/{other}"]):
                if store.check([hello]):
                    store.set(f"starcli/answer/{store.get(hello).decode()}", token)
                if time.monotonic() > end:
                    raise RuntimeError(f"rank {other} has not come")
                time.sleep(0.01)
        return PrefixStore(token, store)
    store.set(f"starcli/hello/{own}", token)
    answer = f"starcli/answer/{token}"
    store.wait([answer], datetime.timedelta(seconds=MEETING_SECONDS))
    meeting = store.get(answer).decode()
    store.set(f"starcli/joined/{meeting}/{own}", "yes")
    return PrefixStore(meeting, store)
