"""Several processes that share one command: `torchrun --nproc-per-node 2 -m starcli star ...`.

torchrun tells each process its rank through the environment. Units of work (seeds, pairs, sources) are dealt out and
gathered, a gradient is summed by one all-reduce a step; rank 0 writes and speaks. With one process, and outside of
`group`, everything here does nothing.
"""

import contextlib
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from starcli.errors import StarcliError
from starcli.runtime.progress import Interrupted
from starcli.runtime.rank_errors import from_dict, to_dict
from starcli.runtime.rendezvous import meet

if TYPE_CHECKING:
    from torch import Tensor

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

EXCHANGE_TIMEOUT = datetime.timedelta(days=30)
"""How long a rank waits for another: one may have more to do. One that died is noticed at once, by its socket."""

FAILURE, SAID = "starcli/failure", "starcli/said"
"""Keys of the ranks' common store: what went wrong first, and that rank 0 has told the user."""


@dataclass(frozen=True)
class _World:
    rank: int = 0
    size: int = 1
    joined: bool = False
    """Whether all ranks work on the same item of `share_out` at the moment."""


_world = _World()
_store: Any = None


class Lost(StarcliError):
    """An exchange failed: another rank has ended."""


def rank() -> int:
    """This process's number among `size()`, from 0."""
    return _world.rank


def size() -> int:
    """How many processes share the present work; 1 outside of `group` and within `alone`."""
    return _world.size


def is_writer() -> bool:
    """Whether this process writes what the present work makes: rank 0 does."""
    return _world.rank == 0


def speaks() -> bool:
    """Whether this process shows results, notes and errors; known before the ranks have met."""
    return os.environ.get("RANK", "0") == "0"


def launched() -> int:
    """How many processes were started for the command."""
    count = os.environ.get("WORLD_SIZE", "")
    return int(count) if count.isdecimal() else 1


def crowded() -> bool:
    """Whether ranks share this machine and the launcher says no number of threads: with all cores each, they crawl."""
    return "OMP_NUM_THREADS" not in os.environ and int(os.environ.get("LOCAL_WORLD_SIZE", launched())) > 1


def alone() -> contextlib.AbstractContextManager[None]:
    """Within it this rank works as a single process does: it writes, and waits for no other."""
    return _within(_World())


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
    """Join the other ranks for the time of a command: gloo, and nccl for what lies on GPUs.

    An error of one rank ends all: the others, woken by the closed connection, raise the same.
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
        raise Lost(f"a rank of {launched()} cannot reach the others: {str(error).splitlines()[0]}") from error
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


def leave() -> None:
    """Before this process ends with an error: torchrun ends all ranks with the first, so that one has to be rank 0."""
    if launched() == 1:
        return
    with contextlib.suppress(RuntimeError):
        if _store is not None and speaks():
            _store.set(SAID, "yes")
        elif _store is not None:
            _store.wait([SAID], datetime.timedelta(seconds=10))
        elif not speaks():
            time.sleep(3)  # wrong words, which rank 0 was given too: it needs no longer


def end(status: int) -> None:
    """End this process with `status` as soon as all is written, if it is one of several or has threads at work still.

    The interpreter is not taken down: it would wait for the threads. And a thread of gloo's that lets go of a tensor at
    that moment would end the process by std::terminate (seen once in a hundred runs on an overloaded machine), and
    torchrun all the others.
    """
    working = any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread())
    if launched() > 1 or working:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed
                stream.flush()
        os._exit(status)


def _first_failure(error: BaseException) -> BaseException:
    """What made another rank end, where it could still say that; else `error` itself."""
    try:
        _store.wait([FAILURE], datetime.timedelta(seconds=2))
        return from_dict(json.loads(_store.get(FAILURE)))
    except RuntimeError:
        return error


@contextlib.contextmanager
def _exchanging() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        problems = ["a process was killed or a machine is gone; the same line typed again goes on from the last state"]
        raise Lost(f"rank {rank()} of {size()} lost the others", problems) from error


# -- exchanges ---------------------------------------------------------------------------------------------------------


def sum_(tensor: "Tensor") -> "Tensor":
    """Replace `tensor` by its sum over the ranks, in place: one all-reduce."""
    if size() > 1:
        import torch.distributed as dist

        with _exchanging():
            dist.all_reduce(tensor)
    return tensor


def largest(value: int) -> int:
    """The largest of the ranks' values: one stop signal stops all."""
    if size() == 1:
        return value
    import torch
    import torch.distributed as dist

    tensor = torch.tensor(value)
    with _exchanging():
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def by_writer(work: Callable[[], _Result]) -> _Result:
    """`work()`, done by rank 0 alone: its result, or its StarcliError, is that of all ranks."""
    if size() == 1:
        return work()
    import torch.distributed as dist

    outcome: list[Any] = [_attempt(work) if is_writer() else None]
    with _exchanging():
        dist.broadcast_object_list(outcome, src=0)
    result, failure = outcome[0]
    if failure is not None:
        raise from_dict(failure)
    done: _Result = result
    return done


def everyones(value: _Result) -> list[_Result]:
    """What each rank gives, in the order of the ranks."""
    gathered: list[Any] = [value] * size()
    if size() > 1:
        import torch.distributed as dist

        with _exchanging():
            dist.all_gather_object(gathered, value)
    return gathered


def own_share(count: int, waves: Sequence[int] = ()) -> int:
    """How many of `count` items `share_out` gives to this rank."""
    return count if _together(count, waves) else len(range(rank(), count, size()))


def share_out(items: Sequence[_Item], work: Callable[[_Item], _Result], waves: Sequence[int] = ()) -> list[_Result]:
    """`[work(item) for item in items]`, each item done by exactly one rank, all results known to all, in order.

    An item may consist of pieces that ranks can share, so many in each of its `waves`. Where that is faster, all ranks
    do every item together, and each piece is done by exactly one (see `share_pieces`). An error of one rank is raised
    by all, so that none waits for ever.
    """
    return list(deal(items, work, waves))


def deal(items: Sequence[_Item], work: Callable[[_Item], _Result], waves: Sequence[int] = ()) -> Iterator[_Result]:
    """`share_out`, but what all do together, or a single process alone, is given as soon as it is there."""
    if not _together(len(items), waves):
        yield from share_out_together(items, lambda own: [work(item) for item in own])
        return
    for item in items:
        with _within(replace(_world, joined=True)):
            result = work(item)
        yield by_writer(lambda result=result: result)  # type: ignore[misc]  # processors may round differently


def _together(count: int, waves: Sequence[int]) -> bool:
    """Whether items take less time one after the other, their waves shared, than dealt out whole."""
    return size() == 1 or count * sum(-(-wave // size()) for wave in waves) < -(-count // size()) * sum(waves)


def share_pieces(pieces: Sequence[_Item], work: Callable[[Sequence[_Item]], list[_Result]]) -> list[_Result]:
    """`work(pieces)` of one item of `share_out`: shared out where all ranks do that item together."""
    return share_out_together(pieces, work) if _world.joined else work(pieces)


def share_out_together(items: Sequence[_Item], work: Callable[[Sequence[_Item]], list[_Result]]) -> list[_Result]:
    """`work(items)`, in which each rank does its part of the items at once; otherwise as `share_out`.

    A rank does its items as a single process would.
    """
    if size() == 1:
        return work(items)

    def own() -> list[_Result]:
        mine = items[rank() :: size()]
        with alone():
            return work(mine) if mine else []

    gathered = everyones(_attempt(own))
    for _, failure in gathered:
        if failure is not None:
            raise from_dict(failure)
    results = [result or [] for result, _ in gathered]
    return [results[position % size()][position // size()] for position in range(len(items))]


def _attempt(work: Callable[[], _Result]) -> tuple[_Result | None, dict[str, Any] | None]:
    """The result of `work`, or the words of what a user or a signal did to it; a bug is raised."""
    try:
        return work(), None
    except (StarcliError, Interrupted) as error:
        if isinstance(error, Lost):
            raise
        return None, to_dict(error, rank())
