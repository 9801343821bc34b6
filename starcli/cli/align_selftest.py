"""`align --selftest`: does matching work for the network of a checkpoint?"""

from starcli.cli.align_models import AlignModels
from starcli.cli.framework.columns import SHARE
from starcli.cli.framework.results import Column
from starcli.cli.options.alignment import MethodOptions
from starcli.cli.options.common import CommonCached
from starcli.cli.options.setup import WriterSetup
from starcli.cli.read_models import read_groups

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


def show_selftest(asked: AlignModels, common: CommonCached, setup: WriterSetup, how: MethodOptions) -> None:
    """Show what comes back of permutations that are planted in the model of REF."""
    from starcli.alignment.selftest import PLANTS, at_hand, every_search, recoveries
    from starcli.workspace.workspace import workspace_of

    alignments = [how.chosen(asked.seed)] if how.align else every_search(**how.alignment_settings(asked.seed))
    [given] = read_groups([asked.reference])
    (workspace, [model]), possible, note = at_hand(alignments, lambda data: workspace_of(given, setup, data=data))
    with common.session() as (watch, results):
        workspace.tell_notes(watch, of_data=False)
        if note:
            watch.note(note)
        for each in recoveries(workspace, model.tensors, possible, plants=asked.plants or PLANTS, progress=watch):
            results.add("selftest", {"model": model.name, **each.to_dict()}, _COLUMNS)
