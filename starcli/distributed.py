"""Several processes that share one command: `torchrun --nproc-per-node 2 -m starcli star ...`.

torchrun tells each process its rank through the environment. Units of work (seeds, pairs, restarts) are dealt out and
gathered; a gradient is averaged by one all-reduce of the flat vector; rank 0 writes and speaks. With one process
everything here does nothing.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from starcli.errors import StarcliError

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


def rank() -> int:
    """This process's number among `size()`, from 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes share the command."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_writer() -> bool:
    """Whether this process writes outputs and results: rank 0 does."""
    return rank() == 0


@contextlib.contextmanager
def group(device: str = "cpu") -> Iterator[None]:
    """Join the other ranks for the time of a command: nccl where the ranks compute on GPUs, else gloo."""
    if size() == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("nccl" if cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        raise StarcliError(
            f"rank {rank()} of {size()} cannot reach the others: {str(error).splitlines()[0]}"
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def mean_(tensor: "Tensor") -> "Tensor":
    """Replace `tensor` by its mean over the ranks, in place: one all-reduce."""
    if size() > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
        tensor /= size()
    return tensor


def largest(value: int) -> int:
    """The largest of the ranks' values: one stop signal stops all."""
    if size() == 1:
        return value
    import torch
    import torch.distributed as dist

    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def own_share(count: int) -> int:
    """How many of `count` items `share_out` gives to this rank."""
    return len(range(rank(), count, size()))


def share_out(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """`[work(item) for item in items]`, each item done by exactly one rank, all results known to all, in order.

    An error of one rank is raised by all, so that none waits for ever.
    """
    if size() == 1:
        return [work(item) for item in items]
    import torch.distributed as dist

    done: dict[int, Result] = {}
    failure: str | None = None
    try:
        for position in range(rank(), len(items), size()):
            done[position] = work(items[position])
    except StarcliError as error:
        failure = str(error)
    gathered: list[tuple[dict[int, Result], str | None]] = [({}, None)] * size()
    dist.all_gather_object(gathered, (done, failure))
    failures = [text for _, text in gathered if text is not None]
    if failures:
        raise StarcliError(failures[0])
    merged = {position: result for part, _ in gathered for position, result in part.items()}
    return [merged[position] for position in range(len(items))]
