"""Results of `starcli barrier`: a row for each line, summaries of groups, the share of stars, a star's report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.columns import columns_of_split
from starcli.cli.framework.results import LOSS, Column, Results
from starcli.cli.shared_columns import LOSS_KIND, PRECISION, RENORMALISED
from starcli.registry.tasks import REGRESSION

if TYPE_CHECKING:
    from starcli.alignment.measure import Measure
    from starcli.barriers.bends import Bends
    from starcli.barriers.line_barrier import Barrier
    from starcli.barriers.star_report import StarReport
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.plots.rows import ResultRow

_ENDS = Column("ends", "BatchNorm statistics of the ends", common=True)
_ENDS_WORDS = {"recalibrate": "re-estimated, as of all between", "own-ends": "their own"}
LINE_COLUMNS = (
    Column("a", "a", "name"),
    Column("b", "b", "name", main=True),
    Column("alignment", "alignment", common=True),
    Column("path", "path", common=True, usual="line"),
    _ENDS,
    RENORMALISED,
    PRECISION,
    LOSS_KIND,
    Column("train.loss_barrier", "train barrier", LOSS, main=True),
    *Column.of_metrics("train.{}_barrier", "train {} {}", optional=2),
    Column("test.loss_barrier", "test barrier", LOSS, main=True),
    *Column.of_metrics("test.{}_barrier", "test {} {}", optional=2),
    Column("train.loss", "train loss", "spark", optional=1),
)
SUMMARY_COLUMNS = (
    Column("group", "barriers", "name"),
    Column("count", "pairs", "d"),
    Column("alignment", "alignment", common=True),
    _ENDS,
    RENORMALISED,
    PRECISION,
    LOSS_KIND,
    Column("train.mean", "train", LOSS, main=True),
    Column("train.std", "±", LOSS),
    Column("test.mean", "test", LOSS, main=True),
    Column("test.std", "±", LOSS),
    Column("test.interval", "95% of test mean", "range", optional=1),
    *Column.of_metrics("train.{}_barriers.mean", "train {} {}", spread="train.{}_barriers.std", optional=2),
    *Column.of_metrics("test.{}_barriers.mean", "test {} {}", spread="test.{}_barriers.std", optional=2),
)
SHARE_COLUMNS = (Column("epsilon", "tolerance", "g"), Column("share", "share of stars", ".0%", main=True))
MANY_PAIRS = 60
"""A table with more rows than this is of no use to people, who then see the summary alone; programs get them all."""
LOSS_COLUMNS = (
    Column("model", "nats"),
    Column("train", "train", LOSS, main=True),
    Column("test", "test", LOSS, main=True),
)


@dataclass(frozen=True)
class BarrierResults:
    """How to measure, and where to show what comes out.

    paint: draws a figure of rows where one is asked for. said: whether the command line says how models are aligned.
    drawn: the rows so far, with their types.
    """

    measure: "Measure"
    results: Results
    paint: "Callable[[Sequence[ResultRow]], None]"
    said: bool
    drawn: "list[ResultRow]" = field(default_factory=list)

    @cached_property
    def _ends(self) -> str | None:
        """Which BatchNorm statistics the ends of lines are measured with, for people; None: the network has none."""
        from starcli.evaluation.batchnorm_statistics import has_batch_statistics

        has_some = has_batch_statistics(self.measure.workspace.outline())
        return _ENDS_WORDS[self.measure.statistics] if has_some else None

    def to_each(self, models: "Sequence[Checkpoint]", bends: "Bends") -> None:
        """Measure from the first model to each of the others, or to one by way of `bends`."""
        from starcli.barriers.cached import cached_lines
        from starcli.barriers.described import Describer
        from starcli.barriers.intervals import group_of

        first, *others = models
        found = cached_lines(self.measure, first, others, bends)
        for each in found:
            self._line(each)
        if len(others) > 1:
            pairs = [(0, number + 1) for number in range(len(others))]
            group = group_of(pairs, found, [range(1, len(models))])
            self._group(Describer(self.measure).group(f"{first.name} to each", group, models).to_dict())
        self.paint(self.drawn)

    def all_pairs(self, models: "Sequence[Checkpoint]", tolerances: Sequence[float]) -> None:
        """Measure every pair, and the share of stars among the models at each tolerance."""
        from starcli.barriers.all_pairs import measure_all_pairs

        report = measure_all_pairs(self.measure, models)
        columns = LINE_COLUMNS if len(report.pairs) <= MANY_PAIRS else ()
        if not columns and not self.results.for_programs:
            self.measure.progress.note(
                f"{len(report.pairs)} pairs: only their summary is shown, --format json has each"
            )
        for each in report.barriers:
            self._line(each, columns)
        shares = {f"{epsilon:g}": report.star_share(epsilon) for epsilon in tolerances}
        self._group({**report.to_dict(), "star_share": shares})
        self.paint(self.drawn)

    def star(
        self,
        star: "Sequence[Checkpoint]",
        sources: "Sequence[Checkpoint]",
        held_out: "Sequence[Checkpoint]",
        aligned_sources: "Sequence[Checkpoint]",
    ) -> None:
        """Measure whether the one model of `star` is a star."""
        from starcli.alignment.notes import TWO_WAYS
        from starcli.barriers.cached import cached_star_report
        from starcli.barriers.groups import TRAINED, UNALIGNED
        from starcli.star.check_sources import check_roles, warn_of_weak_report

        measure = self.measure
        check_roles(star[0], sources, held_out, measure.progress)
        if not self.said:
            measure.progress.note(f"models are measured as they are: {TWO_WAYS}")
        report = cached_star_report(measure, star[0], sources, held_out, aligned_sources)
        warn_of_weak_report(self.measure.workspace, report, star[0].name, measure.progress)
        usual = report.about["alignment"]
        labels = {each.about["alignment"] for name, each in report.groups.items() if name not in (TRAINED, UNALIGNED)}
        for name, group in report.groups.items():
            for each in group.barriers:
                self._line(each, ())
            # in a table the group's name says what is its own, and one alignment of all others can be said once
            once = name in (TRAINED, UNALIGNED) and not self.results.for_programs and labels == {usual}
            self._group({**group.to_dict(), **({"alignment": usual} if once else {})})
        self._star(report)
        self.paint(self.drawn)

    def _add(self, kind: str, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """Show a row, and keep it for the figure."""
        self.drawn.append({"type": kind, **row})
        self.results.add(kind, row if self.results.for_programs else {**row, "ends": self._ends}, columns)

    def _line(self, found: "Barrier", columns: Sequence[Column] = LINE_COLUMNS) -> None:
        """The row of a line."""
        self._add("barrier", found.to_dict(), columns_of_split(columns, self.measure.split))

    def _group(self, row: Mapping[str, Any]) -> None:
        """The row of a group of pairs."""
        self._add("summary", row, columns_of_split(SUMMARY_COLUMNS, self.measure.split))
        for epsilon, share in {} if self.results.for_programs else row.get("star_share", {}).items():
            self.results.add("stars", {"epsilon": float(epsilon), "share": share}, SHARE_COLUMNS)

    def _star(self, report: "StarReport") -> None:
        """The star's own figures; for people the losses of star and sources, and what the star gains."""
        facts = report.to_dict()
        facts.pop("groups")
        self.results.add("star", facts, ())
        if self.results.for_programs:
            return
        means = {
            name: {split: each["mean"] for split, each in facts[name].items()}
            for name in ("regular_loss", "differences")
        }
        columns = columns_of_split(LOSS_COLUMNS, self.measure.split)
        if self.measure.workspace.dataset.task == REGRESSION:
            columns = (replace(columns[0], heading="squared error"), *columns[1:])
        self.results.add("losses", {"model": "loss of the star", **facts["star_loss"]}, columns)
        self.results.add("losses", {"model": "loss of the sources", **means["regular_loss"]}, columns)
        self.results.add(
            "losses", {"model": "barriers: regular-regular less star-held-out", **means["differences"]}, columns
        )
