"""starcli barrier"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, Column, Results
from starcli.cli.option_groups import Common, Setup
from starcli.cli.options import AlignOpt, HeldOutOpt, PlotOpt, PointsOpt, RestartsOpt, SeedOpt, StatisticsOpt
from starcli.cli.outputs import figure_writer
from starcli.cli.read_models import TWO_WAYS, check_roles, need_several, note_data, note_what_moves, read_groups
from starcli.errors import StarcliError, few

if TYPE_CHECKING:
    from starcli.barriers.intervals import BarrierGroup
    from starcli.barriers.line import Barrier
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.evaluation.measure import Measure
    from starcli.workspace.stamp import Stamp

_COLUMNS = (
    Column("a", "a", "name"),
    Column("b", "b", "name"),
    Column("alignment", "alignment", common=True),
    Column("train.loss_barrier", "train barrier", LOSS),
    Column("train.accuracy_barrier", "accuracy", ".2%", optional=2),
    Column("test.loss_barrier", "test barrier", LOSS),
    Column("test.accuracy_barrier", "accuracy", ".2%", optional=2),
    Column("train.loss", "train loss", "spark", optional=1),
)
SUMMARY = (
    Column("group", "barriers"),
    Column("count", "pairs", "d"),
    Column("alignment", "alignment", common=True),
    Column("train.mean", "train", LOSS),
    Column("train.std", "±", LOSS),
    Column("test.mean", "test", LOSS),
    Column("test.std", "±", LOSS),
    Column("test.interval", "95% of test mean", "range", optional=1),
)
COARSEST = 1e-3
"""The least tolerance that losses measured in bf16 can be held against, in nats."""
SHARES = (Column("epsilon", "tolerance", "g"), Column("share", "share of stars", ".0%"))
MANY_PAIRS = 60
"""A table with more rows than this is of no use to people, who then see the summary alone; programs get them all."""
LOSSES = (
    Column("model", "nats"),
    Column("train", "train", LOSS),
    Column("test", "test", LOSS),
)


@command("starcli barrier a.safetensors b.safetensors --align weight --restarts 10 --plot ab.png")
def barrier_command(
    common: Common,
    setup: Setup,
    *,
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="A B...", help="A model, and those to go to from it.")
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every pair of the models; --align must be said.")
    ] = False,
    star: Annotated[Path | None, typer.Option("--star", metavar="MODEL", help="Judge this star.")] = None,
    sources: Annotated[
        list[Path] | None, typer.Option("--sources", metavar="MODEL...", help="The solutions it was made from.")
    ] = None,
    held_out: HeldOutOpt = None,
    aligned_sources: Annotated[
        Path | None,
        typer.Option("--aligned-sources", metavar="DIR", help="The sources as the star's training left them."),
    ] = None,
    align: AlignOpt = None,
    restarts: RestartsOpt = 1,
    seed: SeedOpt = 0,
    points: PointsOpt = 11,
    statistics: StatisticsOpt = "recalibrate",
    epsilon: Annotated[
        list[float] | None,
        typer.Option("--epsilon", metavar="E...", help="Tolerances for the share of models that are stars."),
    ] = None,
    plot: PlotOpt = None,
) -> None:
    """Measure how far the loss rises on the straight line between models.

    A and B: their line. A and several B: from A to each. --all-pairs: every pair, and the share of models that are
    stars. --star, --sources and --held-out: is it a star? (the paper's Table 1). Models are taken as they are unless
    --align is given. The barrier is the largest rise of the loss above the line between its ends.

    Rows of --star: regular-regular pairs each of H held-out models with max(H, 2) sources, the next ones for each (all
    where there are no more); star-source and star-held-out pair the star with each model.

    The 95% interval of a mean counts models, not pairs: mean ± t(df) × standard error by leaving out each model in
    turn, cut at 0, for independent, near normal models and a fixed star or first model; below 3 models there is none.
    """
    given = BarrierModels(models or [], sources or [], held_out or [], star, aligned_sources)
    ask = given.question(all_pairs=all_pairs, align=align)
    paint = figure_writer(plot, given.paths)
    if setup.precision == "bf16" and min(epsilon or [1.0]) < COARSEST:
        raise StarcliError(f"--epsilon {min(epsilon or []):g}: bf16 tells losses apart to {COARSEST:g}; fp32 is finer")
    with common.session() as (watch, results):
        from starcli.evaluation.measure import Measure
        from starcli.workspace.stamp import stamps
        from starcli.workspace.workspace import workspace_of

        groups = given.read()
        workspace = workspace_of([model for group in groups for model in group], setup.choices(), measures=True)
        note_data(workspace, watch)
        note_what_moves(workspace, align, watch)
        measure = Measure(workspace, align, restarts, seed, points, cast(Any, statistics), watch)
        tolerances = tuple(epsilon or (0.01, 0.05, 0.1, 0.2, 0.5))
        ask(BarrierResults(measure, results, paint, tolerances, stamps(workspace)), *groups)


@dataclass(frozen=True)
class BarrierResults:
    """How to measure, and where to show what comes out."""

    measure: "Measure"
    results: Results
    paint: Callable[..., None]
    epsilon: tuple[float, ...]
    stamp: "Stamp"

    def pair(
        self, a: "Checkpoint", b: "Checkpoint", found: "Barrier", columns: Sequence[Column] = _COLUMNS, **more: Any
    ) -> None:
        """One row for the path from a to b."""
        alignment = more.pop("alignment", None) or self.measure.described(a, b)
        row = {"a": a.name, "b": b.name, **more, "alignment": alignment, "statistics": self.measure.statistics}
        self.results.add("barrier", {**row, **found.to_json(), **self.stamp([a, b])}, columns)

    def group(
        self, name: str, group: "BarrierGroup", numbered: "Sequence[Checkpoint]", alignment: str, **more: Any
    ) -> None:
        """The summary of a group of pairs, which number the models."""
        row = {"group": name, "count": len(group.pairs), "alignment": alignment, **group.to_json(), **more}
        taking_part = sorted({number for pair in group.pairs for number in pair})
        self.results.add("summary", {**row, **self.stamp([numbered[i] for i in taking_part])}, SUMMARY)
        for epsilon, share in {} if self.results.as_json else more.get("star_share", {}).items():
            self.results.add("stars", {"epsilon": float(epsilon), "share": share}, SHARES)


@dataclass(frozen=True)
class BarrierModels:
    """The models that the words name, and the question they ask."""

    models: list[Path]
    sources: list[Path]
    held_out: list[Path]
    star: Path | None
    aligned_sources: Path | None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [*self.models, *self.sources, *self.held_out, *([self.star] if self.star else [])]

    def question(self, *, all_pairs: bool, align: str | None) -> Callable[..., None]:
        """Which of the three measurements is asked for; words that ask for none are an error."""
        if self.star is not None:
            if self.models or all_pairs:
                raise StarcliError("--star is measured against --sources and --held-out, and takes no other models")
            need_several(self.sources)
            if not self.held_out:
                raise StarcliError("--held-out is needed: a star is judged on models that it never saw")
            return _star
        if self.sources or self.held_out or self.aligned_sources:
            raise StarcliError("--sources, --held-out and --aligned-sources belong to --star, which is missing")
        need_several(self.models, "barrier")
        if not all_pairs:
            return _to_each
        if align is None:
            raise StarcliError(
                "--all-pairs needs --align said",
                ["models that were aligned to one reference are not aligned to each other",
                 "--align weight aligns each pair, --align none takes the files as they are"],
            )  # fmt: skip
        return _all_pairs

    def read(self) -> "list[list[Checkpoint]]":
        """The models, in the groups that the question wants."""
        from starcli.alignment.align import left_by

        if self.star is None:
            return read_groups(self.models, distinct=False)
        groups = read_groups([self.star], self.sources, self.held_out)
        kept = sorted(self.aligned_sources.glob("*.safetensors")) if self.aligned_sources else []
        if self.aligned_sources and len(kept) != len(self.sources):
            raise StarcliError(f"{self.aligned_sources}: has {len(kept)} models for {len(self.sources)} --sources")
        [aligned] = read_groups(kept) if kept else [[]]
        made_from = {parent for model in aligned for parent in model.metadata.parents}
        if others := [source.name for source in groups[1] if aligned and source.sha256 not in made_from]:
            raise StarcliError(f"{self.aligned_sources}: no model there was made from {few(others, 5)}")
        [star] = groups[0]
        if strangers := [model.name for model in aligned if not left_by(star, model)]:
            raise StarcliError(f"{self.aligned_sources}: not aligned to {star.name}: {few(strangers, 5)}")
        return [*groups, aligned]


def _to_each(show: BarrierResults, models: "Sequence[Checkpoint]") -> None:
    """From the first model to each of the others."""
    from starcli.barriers.cached import cached_lines
    from starcli.barriers.intervals import group_of
    from starcli.plots.barrier_figure import barrier_figure

    first, *others = models
    measure = show.measure
    if measure.method is None and any(measure.described(first, other) == "none" for other in others):
        name = next(other.name for other in others if measure.described(first, other) == "none")
        measure.progress.note(f"{name} was never aligned to {first.name}: {TWO_WAYS}")
    found = cached_lines(measure, first, others)
    for other, each in zip(others, found, strict=True):
        show.pair(first, other, each)
    if len(others) > 1:
        pairs = [(0, number + 1) for number in range(len(others))]
        group = group_of(pairs, found, [range(1, len(models))])
        show.group(f"{first.name} to each", group, models, measure.alignments((first, other) for other in others))
    names = [f"{first.name} – {others[0].name}"] if len(others) == 1 else [f"{first.name} to {len(others)} models"]
    show.paint(barrier_figure, {names[0]: found})


def _all_pairs(show: BarrierResults, models: "Sequence[Checkpoint]") -> None:
    """Every pair, and the share of stars among the models."""
    from starcli.barriers.cached import cached_pairs
    from starcli.barriers.intervals import group_of
    from starcli.barriers.pairs import matrix, pairs_of, star_share
    from starcli.plots.pairs_figure import pairs_figure

    pairs = pairs_of(len(models))
    found = cached_pairs(show.measure, models, pairs)
    columns = _COLUMNS if len(pairs) <= MANY_PAIRS else ()
    if not columns and not show.results.as_json:
        show.measure.progress.note(f"{len(pairs)} pairs: only their summary is shown, --json has each")
    for (i, j), each in zip(pairs, found, strict=True):
        show.pair(models[i], models[j], each, columns)
    matrices = {
        split: matrix(len(models), pairs, [getattr(each, split).loss_barrier for each in found])
        for split in ("train", "test")
    }
    shares = {f"{epsilon:g}": star_share(matrices["train"], epsilon) for epsilon in show.epsilon}
    group = group_of(pairs, found, [range(len(models))])
    facts = {"models": [model.name for model in models], "matrix": {k: m.tolist() for k, m in matrices.items()}}
    alignment = show.measure.alignments((models[i], models[j]) for i, j in pairs)
    show.group("all pairs", group, models, alignment, star_share=shares, **facts)
    show.paint(pairs_figure, matrices["train"], [model.name.removesuffix(".safetensors") for model in models])


def _star(
    show: BarrierResults,
    star: "Sequence[Checkpoint]",
    sources: "Sequence[Checkpoint]",
    held_out: "Sequence[Checkpoint]",
    aligned_sources: "Sequence[Checkpoint]",
) -> None:
    """Whether a model is a star."""
    from starcli.barriers.cached import cached_star_report
    from starcli.barriers.star_report import TRAINED, UNALIGNED
    from starcli.plots.barrier_figure import barrier_figure

    measure, numbered = show.measure, [*sources, *held_out, star[0]]
    check_roles(star[0], sources, held_out, measure.progress)
    if measure.method is None:
        measure.progress.note(f"models are measured as they are: {TWO_WAYS}")
    report = cached_star_report(measure, star[0], sources, held_out, aligned_sources)
    own = {TRAINED: "training's own", UNALIGNED: "none"}
    pairs = {n: [(numbered[i], numbered[j]) for i, j in g.pairs] for n, g in report.groups.items() if n not in own}
    words, usual = (
        {name: measure.alignments(some) for name, some in pairs.items()},
        measure.alignments(chain(*pairs.values())),
    )
    for name, group in report.groups.items():
        models = [*aligned_sources, star[0]] if name == TRAINED else numbered
        for (i, j), each in zip(group.pairs, group.barriers, strict=True):
            show.pair(models[i], models[j], each, (), group=name, alignment=own.get(name))
        # in a table the group's name says what is its own, and one alignment of all others can be said once
        once = name in own and not show.results.as_json and set(words.values()) == {usual}
        show.group(name, group, models, usual if once else {**words, **own}[name])
    facts = report.to_json()
    facts.pop("groups")
    show.results.add("star", {"star": star[0].name, **facts, "alignment": usual, **show.stamp(star)}, ())
    if not show.results.as_json:
        _losses(show.results, facts)
    # beside unaligned pairs all other curves would look flat
    drawn = {name: group.barriers for name, group in report.groups.items() if name != UNALIGNED}
    show.paint(barrier_figure, drawn)


def _losses(results: Results, facts: dict[str, Any]) -> None:
    """For people: the losses of star and regular models, and what the star gains."""
    names = ("regular_loss", "differences")
    means = {name: {split: facts[name][split]["mean"] for split in ("train", "test")} for name in names}
    results.add("losses", {"model": "loss of the star", **facts["star_loss"]}, LOSSES)
    results.add("losses", {"model": "loss of regular models", **means["regular_loss"]}, LOSSES)
    results.add("losses", {"model": "barrier: regular less star", **means["differences"]}, LOSSES)
