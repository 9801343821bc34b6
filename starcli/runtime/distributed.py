"""Several processes (ranks) that share one command: `torchrun --nproc-per-node 2 -m starcli star ...`.

torchrun tells each process its rank through environment variables. Here are the group of ranks, its exchanges and its
end: a gradient is summed by one all-reduce a step; rank 0 writes files and prints. How work is dealt out: sharing.py.
With one process, and outside of `group`, every function here does the work of a single process.
"""

import contextlib
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from starcli.errors import StarcliError, first_line
from starcli.runtime.progress import Interrupted
from starcli.runtime.rank_errors import from_dict, to_dict
from starcli.runtime.rendezvous import meet

if TYPE_CHECKING:
    from torch import Tensor

_Result = TypeVar("_Result")

EXCHANGE_TIMEOUT = datetime.timedelta(days=30)
"""Longest time that a rank waits for another.

That one may have more to do; if it died, its closed socket tells at once.
"""

FAILURE, SAID = "starcli/failure", "starcli/said"
"""Keys of the ranks' common store: the first error, and that rank 0 has printed it."""


@dataclass(frozen=True)
class _World:
    """This process's place among the processes that share the present work."""

    rank: int = 0
    size: int = 1
    joined: bool = False
    """Whether all ranks work together on one item of `sharing.share_out` at the moment."""


_world = _World()
_store: Any = None


class Lost(StarcliError):
    """Failed exchange: another rank has ended."""


def rank() -> int:
    """Number of this process among `size()`, from 0."""
    return _world.rank


def size() -> int:
    """Number of processes that share the present work; 1 outside of `group` and within `alone`."""
    return _world.size


def is_writer() -> bool:
    """Whether this process (rank 0) writes the files of the present work."""
    return _world.rank == 0


def is_speaker() -> bool:
    """Whether this process prints results, notes and errors; known before the ranks have met."""
    return os.environ.get("RANK", "0") == "0"


def launched() -> int:
    """Number of processes that were started for the command."""
    count = os.environ.get("WORLD_SIZE", "")
    return int(count) if count.isdecimal() else 1


def crowded() -> bool:
    """Whether ranks share this machine and no number of threads is set: each would take all cores, and all crawl."""
    return "OMP_NUM_THREADS" not in os.environ and int(os.environ.get("LOCAL_WORLD_SIZE", launched())) > 1


def alone() -> contextlib.AbstractContextManager[None]:
    """Context in which this rank works as a single process: it writes, and waits for no other rank."""
    return _within(_World())


def working_together() -> contextlib.AbstractContextManager[None]:
    """Context in which all ranks work on one item, whose pieces they share."""
    return _within(replace(_world, joined=True))


def is_joined() -> bool:
    """Whether all ranks work on one item now: this is within `working_together`."""
    return _world.joined


@contextlib.contextmanager
def _within(world: _World) -> Iterator[None]:
    global _world
    before, _world = _world, world
    try:
        yield
    finally:
        _world = before


@contextlib.contextmanager
def group() -> Iterator[None]:
    """Join the other ranks for the duration of a command (gloo; nccl for tensors on GPUs).

    An error of one rank ends all: the others are woken by the closed connection and raise the same error.
    Raises Lost where the ranks cannot reach each other.
    """
    global _world, _store
    if launched() == 1:
        yield
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        store, own, count = next(rendezvous("env://"))
        _store = meet(store, own, count)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=_store, rank=own, world_size=count, timeout=EXCHANGE_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise Lost(f"a rank of {launched()} cannot reach the others: {first_line(error)}") from error
    _world = _World(own, count)
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Lost):
            with contextlib.suppress(RuntimeError):  # a store that is gone needs no news
                _store.compare_set(FAILURE, "", json.dumps(to_dict(error, rank())))
            raise
        raise _first_failure(error) from None
    finally:
        _world = _World()
        _disband()


def _disband() -> None:
    """Leave the group: close the connections, which wakes the ranks that still wait for this one.

    The end of a group joins gloo's threads. Some of them may be about to let go of a tensor, for which they need the
    interpreter's lock; up to torch 2.6 at least, the end of a group holds that lock and waits for ever, the end of its
    gloo part lets go of it. So that part is kept until the group is gone.
    """
    import torch
    import torch.distributed as dist

    gloo = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
    dist.destroy_process_group()
    del gloo


def let_rank_0_end_first() -> None:
    """Wait, before ending with an error, until rank 0 has printed it: torchrun kills all ranks once one has failed."""
    if launched() == 1:
        return
    with contextlib.suppress(RuntimeError):
        if _store is not None and is_speaker():
            _store.set(SAID, "yes")
        elif _store is not None:
            _store.wait([SAID], datetime.timedelta(seconds=10))
        elif not is_speaker():
            time.sleep(3)  # wrong words, which rank 0 was given too: it needs no longer


def end_process(status: int) -> None:
    """End this process with `status` at once, after flushing, if it is one of several ranks or has running threads.

    The interpreter is not shut down: it would wait for the threads; and a thread of gloo's that frees a tensor at that
    moment would abort the process by std::terminate (seen once in a hundred runs on an overloaded machine), on which
    torchrun kills all others.
    """
    working = any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread())
    if launched() > 1 or working:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed
                stream.flush()
        os._exit(status)


def _first_failure(error: BaseException) -> BaseException:
    """First error of any rank, where that rank could still record it; else `error` itself."""
    try:
        _store.wait([FAILURE], datetime.timedelta(seconds=2))
        return from_dict(json.loads(_store.get(FAILURE)))
    except RuntimeError:
        return error


@contextlib.contextmanager
def _exchanging() -> Iterator[None]:
    """Turn a failed exchange into Lost."""
    try:
        yield
    except RuntimeError as error:
        problems = [
            "a process was killed or a machine is gone; type the same line again, which goes on from what was kept"
        ]
        raise Lost(f"rank {rank()} of {size()} lost the others", problems) from error


# -- exchanges ---------------------------------------------------------------------------------------------------------


def begin_sum(tensor: "Tensor") -> Callable[[], None]:
    """Begin to replace `tensor` by its sum over the ranks: an all-reduce that ends when the result is called.

    Until then nobody reads or writes the tensor. All ranks begin theirs in the same order.
    """
    if size() == 1:
        return lambda: None
    import torch.distributed as dist

    with _exchanging():
        work = dist.all_reduce(tensor, async_op=True)

    def wait() -> None:
        with _exchanging():
            work.wait()

    return wait


def sum_(tensor: "Tensor") -> "Tensor":
    """Replace `tensor` by its sum over the ranks, in place: one all-reduce."""
    begin_sum(tensor)()
    return tensor


def maximum(value: int) -> int:
    """Maximum of an integer over the ranks: a stop signal to one rank stops all."""
    if size() == 1:
        return value
    import torch
    import torch.distributed as dist

    tensor = torch.tensor(value)
    with _exchanging():
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def by_writer(work: Callable[[], _Result]) -> _Result:
    """Run `work` on rank 0 alone and return its result, or raise its StarcliError, on all ranks."""
    if size() == 1:
        return work()
    import torch.distributed as dist

    outcome: list[Any] = [attempt(work) if is_writer() else None]
    with _exchanging():
        dist.broadcast_object_list(outcome, src=0)
    result, failure = outcome[0]
    if failure is not None:
        raise from_dict(failure)
    done: _Result = result
    return done


def all_gather(value: _Result) -> list[_Result]:
    """Values of all ranks, in the order of the ranks."""
    gathered: list[Any] = [value] * size()
    if size() > 1:
        import torch.distributed as dist

        with _exchanging():
            dist.all_gather_object(gathered, value)
    return gathered


def attempt(work: Callable[[], _Result]) -> tuple[_Result | None, dict[str, Any] | None]:
    """Result of `work`, or its StarcliError or interruption as a dictionary; others (bugs) are raised."""
    try:
        return work(), None
    except (StarcliError, Interrupted) as error:
        if isinstance(error, Lost):
            raise
        return None, to_dict(error, rank())
