"""`starcli fuse`: fuse several models into one."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command, said_in
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.fuse_adapters import AdapterMean
from starcli.cli.fuse_files import FileMerges
from starcli.cli.fuse_jobs import FuseOptions, FusionRuns
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.merging import files_alone
from starcli.cli.options.setup import LinesSetup
from starcli.cli.options.training import Training
from starcli.cli.shared_columns import LOSS_KIND, PRECISION
from starcli.cli.star_jobs import StarRuns
from starcli.files.shards import is_adapter
from starcli.registry.tasks import METRICS

_COLUMNS = (
    Column("model", "model", "words"),
    Column("method", "method", common=True, optional=8),
    Column("seed", "seed", "d", common=True, optional=1),
    Column("alignment", "alignment", common=True),
    PRECISION,
    Column("name", "file", "name", optional=1),
    Column("data_of", "data of", "name", main=True),
    Column("train.loss", "train loss", LOSS, optional=4),
    *Column.of_metrics("train.{}", "train {}", optional=5),
    Column("validation.loss", "validation loss", LOSS, optional=3),
    *Column.of_metrics("validation.{}", "validation {}"),
    Column("test.loss", "test loss", LOSS, main=True),
    *Column.of_metrics("test.{}", "test {}", main=True),
    LOSS_KIND,
    Column("selected_on", "chosen on", optional=6),
    Column("kept", "kept", optional=7),
    Column("rank", "rank", "d"),
    Column("tensors", "tensors", "d"),
    Column("parameters", "parameters", ",d"),
)


@command(
    "starcli fuse --sources ckpts/*.safetensors -o fused.safetensors",
    "starcli fuse --sources chat/ code/ --base llama/ --method ties --density 0.5 -o merged/",
    see="docs/merging.md",
)
def fuse_command(
    asked: FuseOptions, common: CommonPlanned, setup: LinesSetup, training: Training, figure: PlotOptions
) -> None:
    """Fuse several models into one that costs no more than one of them.

    As star, with the model's own loss added to that on the lines. The other methods align the sources to each other
    first, and only distil trains, from their mean; with --star from the star, taught by points of its domain that are
    drawn anew in each step. Shows the fused model beside each source, the best of them (chosen on the validation
    split), their ensemble and their means: as they are, each aligned to the fused model, and all to each other (a
    search more), renormalised as asked for. All have BatchNorm statistics re-estimated: eval of a source's file uses
    its own.
    A merge of weights alone needs neither network nor data: where some file says no data, and no --data is given, all
    are merged tensor by tensor, as they are, and nothing is measured. LoRA adapters of one base are averaged by linear,
    exactly, into an adapter.
    """  # fmt: skip
    from starcli.fusion.unused_settings import refuse_unused

    refuse_unused(asked.method, said_in(training, asked))
    paint = figure.writer([path for path in asked.sources if not is_adapter(path)])  # of which there is no figure
    drawn: list[Mapping[str, Any]] = []
    with common.session(asked.output) as (watch, results):
        run: AdapterMean | StarRuns | FileMerges
        if any(map(is_adapter, asked.inputs)):
            run = AdapterMean(asked, setup, watch, drawn=figure.plot is not None)
        elif asked.method == "star":
            run = StarRuns(asked, setup, training, watch)
        elif not asked.source_data and files_alone(asked.method, asked.inputs, setup):
            run = FileMerges(asked, watch, drawn=figure.plot is not None)
        else:
            run = FusionRuns(asked, setup, training, watch)
        run.check(asked.split)
        for made in run.all():
            rows = list(made.compared(asked.split))
            drawn += [{"type": "fuse", **row} for row in rows]
            for row in rows if results.for_programs else _for_people(rows, made.alignment):
                results.add("fuse", {**row, "method": asked.method}, _COLUMNS)
        paint(drawn)


def _for_people(rows: Iterable[Mapping[str, Any]], alignment: str) -> Iterator[dict[str, Any]]:
    """One row for each model, with its scores by split; the model's name says whether it is aligned."""
    for _, group in groupby(rows, key=lambda row: (row["model"], row["name"], row.get("data_of"))):
        splits = list(group)
        shown = [row for row in splits if "split" in row]
        scores = {row["split"]: {name: row[name] for name in ("loss", *METRICS) if name in row} for row in shown}
        yield {**splits[0], **scores, "alignment": alignment}
