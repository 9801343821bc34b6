"""Words of results of lines beside their numbers: which models, how they were aligned and measured, on what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from starcli.alignment.alignment import AS_GIVEN
from starcli.alignment.measure import Measure
from starcli.barriers.bends import STRAIGHT, Bends
from starcli.barriers.groups import TRAINED, UNALIGNED
from starcli.barriers.intervals import BarrierGroup
from starcli.barriers.line_barrier import Barrier
from starcli.barriers.star_report import StarReport
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.workspace.stamp import Stamp, stamps

_OWN_ALIGNMENT = {TRAINED: "training's own", UNALIGNED: AS_GIVEN.title}
"""Of groups whose models are taken as they are, whatever is done to others."""


@dataclass(frozen=True)
class Describer:
    """Completes what was measured by `measure`; models are numbered as in pairs."""

    measure: Measure

    @cached_property
    def stamp(self) -> Stamp:
        """The function that says, for some models, on which weights, data and program a result rests."""
        return stamps(self.measure.workspace)

    def line(self, a: Checkpoint, b: Checkpoint, found: Barrier, bends: Bends = STRAIGHT, **group: str) -> Barrier:
        """The line, or the curve by way of `bends`, from a to b."""
        ends = {"a": a.name, "b": b.name, "kinds": [a.metadata.kind, b.metadata.kind], **bends.row(), **group}
        how = self._aligned([(a, b)], group.get("group"))
        return replace(found, about={**ends, **how, **self._measured, **self.stamp([a, b])})

    def group(self, name: str, group: BarrierGroup, models: Sequence[Checkpoint]) -> BarrierGroup:
        """A group of lines that are described already."""
        pairs = [(models[i], models[j]) for i, j in group.pairs]
        taking_part = sorted({number for pair in group.pairs for number in pair})
        origin = self.stamp([models[number] for number in taking_part])
        return replace(group, about={"group": name, **self._aligned(pairs, name), **self._measured, **origin})

    def star(
        self,
        star: Checkpoint,
        others: Sequence[Checkpoint],
        aligned_sources: Sequence[Checkpoint],
        report: StarReport,
    ) -> StarReport:
        """The report of a star, all its lines and groups."""
        groups, pairs = {}, []
        for name, group in report.groups.items():
            models = [*(aligned_sources if name == TRAINED else others), star]  # the star is -1
            ends = [(models[i], models[j]) for i, j in group.pairs]
            lines = [self.line(a, b, each, group=name) for (a, b), each in zip(ends, group.barriers, strict=True)]
            groups[name] = self.group(name, replace(group, barriers=tuple(lines)), models)
            pairs += [] if name in _OWN_ALIGNMENT else ends
        about = {"star": star.name, **self.measure.alignment.facts(pairs), **self._measured, **self.stamp([star])}
        return replace(report, groups=groups, about=about)

    @property
    def _measured(self) -> dict[str, str]:
        """Which statistics ends have, and how points between them were renormalised."""
        return {"statistics": self.measure.statistics, "renormalise": self.measure.renormalise.title}

    def _aligned(self, pairs: Sequence[tuple[Checkpoint, Checkpoint]], group: str | None) -> dict[str, Any]:
        own = _OWN_ALIGNMENT.get(group or "")
        return {"alignment": own} if own else self.measure.alignment.facts(pairs)
