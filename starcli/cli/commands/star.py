"""`starcli star`: find a star model."""

from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.search import SearchOptions
from starcli.cli.options.setup import LinesSetup
from starcli.cli.options.training import Training
from starcli.cli.shared_columns import LOSS_KIND
from starcli.cli.star_jobs import StarRuns

_COLUMNS = (
    Column("output", "star", "name"),
    Column("seed", "seed", "d"),
    Column("sources", "sources", "d"),
    Column("alignment", "alignment", common=True),
    Column("train.loss", "train loss", LOSS, main=True),
    Column("test.loss", "test loss", LOSS, main=True),
    *Column.of_metrics("test.{}", "test {}", main=True),
    LOSS_KIND,
)


@command(
    "starcli star --sources ckpts/[0-4].safetensors --held-out ckpts/[5-7].safetensors -o star.safetensors",
    "starcli star --recipe quickstart --sources a.safetensors b.safetensors --align weight -o star.safetensors",
    see="docs/tutorial.md",
)
def star_command(search: SearchOptions, common: CommonPlanned, setup: LinesSetup, training: Training) -> None:
    """Find a star: a model that straight lines of low loss connect to every source, up to permutation.

    Each step draws a source and a t and lowers the loss at that point of the line; the sources are aligned to the star
    anew in each epoch. Settings are those of the sources unless a flag changes them. Held-out models are only measured.
    """
    with common.session(search.output) as (watch, results):
        for made in StarRuns(search, setup, training, watch).all():
            results.add("star", made.row(), _COLUMNS)
