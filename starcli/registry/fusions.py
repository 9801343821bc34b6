"""Ways to fuse several models into one by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from starcli.registry.entry import Entry
from starcli.registry.merges import MERGES


@dataclass(frozen=True, kw_only=True)
class FusionEntry(Entry):
    """A way to fuse: whether it trains by a recipe, and whether it draws something itself.

    Of a merge of weights alone its `MergeMethod` says whether it draws.
    """

    trains: bool = False
    draws: bool = False


FUSIONS: Mapping[str, FusionEntry] = {
    "star": FusionEntry(
        "starcli.star.starlight:starlight",
        "a star of the sources with its own loss added: the paper's way",
        trains=True,
        draws=True,
    ),
    "mean": FusionEntry("starcli.fusion.fusing:joint_mean", "mean of the sources, aligned to each other: no training"),
    "greedy-soup": FusionEntry(
        "starcli.fusion.fusing:greedy_soup", "mean of those sources that help, best first: no training"
    ),
    "distil": FusionEntry(
        "starcli.fusion.distillation:distil",
        "a student of the sources' averaged predictions",
        trains=True,
        draws=True,
    ),
    "fisher": FusionEntry(
        "starcli.fusion.merge_by_data:fisher_sources",
        "mean weighted by Fisher information: no training",
        draws=True,
    ),
    "regmean": FusionEntry(
        "starcli.fusion.merge_by_data:regression_sources",
        "regression mean: of layers' inputs, no training",
        draws=True,
    ),
    **{
        name: FusionEntry("starcli.fusion.merge_by_weights:merge_sources", entry.help) for name, entry in MERGES.items()
    },
}
"""`fuse --method`: all but star are functions of a `starcli.fusion.fusing.Fusing`."""

TRAINED_FUSIONS = tuple(name for name, entry in FUSIONS.items() if entry.trains)
"""Those that train by a recipe."""
