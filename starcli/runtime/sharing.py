"""Work shared by the ranks: whole items dealt out and gathered, or one item after the other, all ranks on its pieces.

With one process everything is done by that.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from starcli.runtime import distributed
from starcli.runtime.rank_errors import from_dict

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def own_share(count: int, waves: Sequence[int] = ()) -> int:
    """Number of the `count` items that `share_out` gives to this rank."""
    return count if _together(count, waves) else len(range(distributed.rank(), count, distributed.size()))


def share_out(items: Sequence[_Item], work: Callable[[_Item], _Result], waves: Sequence[int] = ()) -> list[_Result]:
    """Compute `[work(item) for item in items]`, each item on one rank; all ranks get all results, in order.

    An item may consist of pieces that ranks can share, `waves` of them after each other. Where that is faster, all
    ranks work on every item together, and each piece is computed by exactly one of them (see `share_pieces`). An error
    of one rank is raised by all, so that none waits for ever.
    """
    return list(deal(items, work, waves))


def deal(items: Sequence[_Item], work: Callable[[_Item], _Result], waves: Sequence[int] = ()) -> Iterator[_Result]:
    """Yield the results of `share_out`: one by one where all ranks work together or there is a single process."""
    if not _together(len(items), waves):
        yield from share_list(items, lambda own: [work(item) for item in own])
        return
    for item in items:
        with distributed.working_together():
            result = work(item)
        yield distributed.by_writer(lambda result=result: result)  # type: ignore[misc]  # processors may round differently


def _together(count: int, waves: Sequence[int]) -> bool:
    """Whether items are done sooner one after the other, their waves shared, than dealt out whole."""
    ranks = distributed.size()
    return ranks == 1 or count * sum(-(-wave // ranks) for wave in waves) < -(-count // ranks) * sum(waves)


def share_pieces(pieces: Sequence[_Item], work: Callable[[Sequence[_Item]], list[_Result]]) -> list[_Result]:
    """Compute `work(pieces)` of one item of `share_out`, the pieces shared where all ranks do that item together."""
    return share_list(pieces, work) if distributed.is_joined() else work(pieces)


def share_list(items: Sequence[_Item], work: Callable[[Sequence[_Item]], list[_Result]]) -> list[_Result]:
    """Compute `work(items)`, a result for each item: each rank calls `work` once, on its part; see `share_out`."""
    rank, ranks = distributed.rank(), distributed.size()
    if ranks == 1:
        return work(items)

    def own() -> list[_Result]:
        mine = items[rank::ranks]
        with distributed.alone():
            return work(mine) if mine else []

    gathered = distributed.all_gather(distributed.attempt(own))
    for _, failure in gathered:
        if failure is not None:
            raise from_dict(failure)
    results = [result or [] for result, _ in gathered]
    return [results[position % ranks][position // ranks] for position in range(len(items))]
