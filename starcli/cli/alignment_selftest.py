"""`align --selftest`: does matching work for the network of a checkpoint?"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from starcli.cli.framework.columns import SHARE
from starcli.cli.framework.results import Column
from starcli.cli.options.alignment import MethodOptions
from starcli.cli.options.common import CommonCached
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import ALIGNMENT, IN, OUT
from starcli.cli.read_models import note_files, read_groups
from starcli.errors import StarcliError, option_of


def _but_with(*flags: str) -> Callable[[typer.Context, Any], Any]:
    """What refuses that nothing is said, unless one of `flags` is."""

    def check(context: typer.Context, value: Any) -> Any:
        if not value and not any(map(context.params.get, flags)) and not context.resilient_parsing:
            words = " and ".join(map(option_of, flags))
            raise typer.BadParameter(f"none is given, and only {words} {'do' if len(flags) > 1 else 'does'} without")
        return value

    return check


AlignedArg = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MODEL...", callback=_but_with("selftest", "normal_form"), help="Checkpoints, or a quoted pattern."
    ),
    IN,
]
AlignedToOpt = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=_but_with("selftest"),
        help="File to write; - is stdout; {name} varies.",
    ),
    OUT,
]
SelftestOpt = Annotated[
    bool,
    typer.Option(
        "--selftest",
        is_eager=True,
        rich_help_panel=ALIGNMENT,
        help="Plant symmetries in copies of REF, say how many units come back; by each --method that does not learn.",
    ),
]
PlantsOpt = Annotated[
    int | None,
    typer.Option(
        "--plants", min=1, metavar="N", rich_help_panel=ALIGNMENT, help="Of --selftest: number of copies (default 3)."
    ),
]

_COLUMNS = (
    Column("alignment", "alignment", main=True),
    Column("model", "model", "name", common=True),
    Column("planted", "planted", common=True),
    Column("plants", "copies", "d", common=True),
    Column("noise", "noise", ".1f", main=True),
    Column("share", "units back", SHARE, main=True),
    Column("recovered", "of all copies", "d", optional=True),
    Column("units", "out of", "d", optional=True),
    Column("alike", "alike", "d"),
    Column("lost", "groups not all back"),
    Column("difference", "change of outputs", ".1e"),
    Column("distance", "distance left", ".1e", optional=True),
    Column("seconds", "seconds a copy", ".2f", optional=True),
)


def show_selftest(
    reference: Path,
    common: CommonCached,
    setup: WriterSetup,
    how: MethodOptions,
    seed: int,
    plants: int | None,
    others: Mapping[str, Any],
) -> None:
    """Show what comes back of permutations that are planted in the model of `reference`.

    others: what has no meaning here, by the words of the command line, so that none of it may have been said.
    """
    from starcli.alignment.selftest import PLANTS, at_hand, every_search, recoveries
    from starcli.workspace.workspace import workspace_of

    if unwanted := [word for word, value in others.items() if value]:
        raise StarcliError(f"--selftest is of REF alone and writes nothing: leave out {', '.join(unwanted)}")
    alignments = [how.chosen(seed)] if how.align else every_search(**how.alignment_settings(seed))
    given = read_groups([reference])[0]
    (workspace, [model]), possible, note = at_hand(alignments, lambda data: workspace_of(given, setup, data=data))
    with common.session() as (watch, results):
        note_files(workspace, watch)
        if note:
            watch.note(note)
        for each in recoveries(workspace, model.tensors, possible, plants=plants or PLANTS, progress=watch):
            results.add("selftest", {"model": model.name, **each.to_dict()}, _COLUMNS)
