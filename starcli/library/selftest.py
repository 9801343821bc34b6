"""Whether alignment works for a network, from Python."""

from typing import Unpack

from starcli.alignment.alignment import Alignment
from starcli.alignment.selftest import PLANTS, at_hand, every_search, recoveries
from starcli.evaluation.result_table import ResultTable
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, open_models
from starcli.library.where import Where


@library_call
def selftest(
    model: ModelLike, *, method: Alignment | str | None = None, plants: int = PLANTS, **where: Unpack[Where]
) -> ResultTable:
    """Plant random permutations in copies of a model, and say how many of their units each method brings back.

    Two rows a method, with the keys of `starcli align --selftest --json`: for copies as they are, and for copies with
    noise on their weights. Units that a method cannot tell apart, because they are copies of each other or dead, are
    counted as `alike`, and may take each other's place. `difference` is the largest change of an output as the units of
    a copy are renamed, in units of its spread: rounding, or else the spec is wrong. The network may return anything.
    method: an `Alignment`, or the name of a method; None: all that do not learn, "weight", and "activation" where there
        are data.
    plants: number of copies.
    where: `arch`, `data`, `device` and others, see `Where`.

    >>> import starcli as sc
    >>> model = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> row = sc.selftest(model, method="weight")[0]
    >>> row["noise"], row["recovered"] == row["units"]
    (0.0, True)
    """
    alignments = every_search() if method is None else [as_alignment(method)]
    (workspace, [found], watcher), possible, note = at_hand(
        alignments, lambda data: open_models([model], where, data=data, uses_data=data)
    )
    if note:
        watcher.note(note)
    rows = recoveries(workspace, found.tensors, possible, plants=plants, progress=watcher)
    return ResultTable({"model": found.name, **each.to_dict()} for each in rows)
