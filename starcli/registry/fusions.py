"""Ways to fuse several models into one by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry
from starcli.registry.merges import MERGES

FUSIONS: Mapping[str, Entry] = {
    "star": Entry("starcli.star.starlight:starlight", "a star of the sources with its own loss added: the paper's way"),
    "mean": Entry("starcli.fusion.fusing:joint_mean", "mean of the sources, aligned to each other: no training"),
    "greedy-soup": Entry(
        "starcli.fusion.fusing:greedy_soup", "mean of those sources that help, best first: no training"
    ),
    "distil": Entry("starcli.fusion.distillation:distil", "a student of the sources' averaged predictions"),
    "fisher": Entry("starcli.fusion.merge_by_data:fisher_sources", "mean weighted by Fisher information: no training"),
    "regmean": Entry(
        "starcli.fusion.merge_by_data:regression_sources", "regression mean: of layers' inputs, no training"
    ),
    **{name: Entry("starcli.fusion.merge_by_weights:merge_sources", entry.help) for name, entry in MERGES.items()},
}
"""`fuse --method`: all but star are functions of a `starcli.fusion.fusing.Fusing`."""

TRAINED_FUSIONS = ("star", "distil")
"""Those that train by a recipe."""
