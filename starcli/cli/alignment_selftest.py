"""`align --selftest`: does matching work for the network of a checkpoint?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from starcli.cli.alignment_options import MethodOptions
from starcli.cli.common_options import CommonCached
from starcli.cli.framework.columns import SHARE
from starcli.cli.framework.results import Column
from starcli.cli.option_groups import WriterSetup
from starcli.cli.options import ALIGNMENT, IN, OUT
from starcli.cli.read_models import note_files, read_groups
from starcli.errors import StarcliError


def _but_in_a_selftest(context: typer.Context, value: Any) -> Any:
    """Refuse that nothing is said, unless --selftest is."""
    if not value and not context.params.get("selftest") and not context.resilient_parsing:
        raise typer.BadParameter("none is given, and only --selftest does without")
    return value


AlignedArg = Annotated[
    list[Path] | None,
    typer.Argument(metavar="MODEL...", callback=_but_in_a_selftest, help="Checkpoints, or a quoted pattern."),
    IN,
]
AlignedToOpt = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", callback=_but_in_a_selftest, help="File to write; - is stdout; {name} varies."
    ),
    OUT,
]
SelftestOpt = Annotated[
    bool,
    typer.Option(
        "--selftest",
        is_eager=True,
        rich_help_panel=ALIGNMENT,
        help="Plant permutations in copies of REF, say how many units come back; by each --method that does not learn.",
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
    Column("plants", "copies", "d", common=True),
    Column("noise", "noise", ".1f", main=True),
    Column("share", "units back", SHARE, main=True),
    Column("recovered", "of all copies", "d", optional=True),
    Column("units", "out of", "d", optional=True),
    Column("alike", "alike", "d"),
    Column("lost", "groups not all back"),
    Column("difference", "change of outputs", ".1e"),
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
