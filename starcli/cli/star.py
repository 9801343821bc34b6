"""starcli star"""

from starcli.cli.bundles import Common, Setup, Training
from starcli.cli.command import command
from starcli.cli.options import (
    AlignedSourcesOpt,
    AlignOpt,
    DrawsOpt,
    EvalEveryOpt,
    EveryOpt,
    ForceOpt,
    HeldOutOpt,
    InitOpt,
    OutputOpt,
    RealignOpt,
    RecipeOpt,
    RestartsOpt,
    SamplingOpt,
    SeedOpt,
    SeedsOpt,
    SourcesOpt,
)
from starcli.cli.output import LOSS, SHARE, Column
from starcli.cli.starlight import Run, Search

COLUMNS = (
    Column("output", "star", "name"),
    Column("seed", "seed", "d"),
    Column("sources", "sources", "d"),
    Column("alignment", "alignment", common=True),
    Column("train.loss", "train loss", LOSS),
    Column("test.loss", "test loss", LOSS),
    Column("test.accuracy", "accuracy", SHARE),
)


@command("starcli star --sources ckpts/[0-4].safetensors --held-out ckpts/[5-7].safetensors -o star.safetensors")
def star(
    sources: SourcesOpt,
    output: OutputOpt,
    common: Common,
    setup: Setup,
    training: Training,
    *,
    recipe: RecipeOpt = None,
    seed: SeedOpt = 0,
    seeds: SeedsOpt = None,
    sampling: SamplingOpt = "uniform",
    realign_every: RealignOpt = "epoch",
    align: AlignOpt = "weight",
    restarts: RestartsOpt = 1,
    draws_per_step: DrawsOpt = None,
    init: InitOpt = None,
    held_out: HeldOutOpt = None,
    eval_every: EvalEveryOpt = None,
    aligned_sources: AlignedSourcesOpt = None,
    checkpoint_every: EveryOpt = None,
    force: ForceOpt = False,
) -> None:
    """Find a star: a model that straight lines of low loss connect to every source, up to permutation.

    Each step draws a source and a t and lowers the loss at that point of the line; the sources are aligned to the star
    anew in each epoch. Settings are those of the sources unless a flag changes them. Held-out models are only measured.
    """
    search = Search(sampling, realign_every, align, restarts, draws_per_step, init, eval_every, checkpoint_every, force)
    with common.session(output) as (watch, results):
        run = Run(sources, held_out or [], output, setup, training, recipe, seeds or str(seed), search, watch)
        for made in run.all("star", aligned_sources):
            results.add("star", made.row(), COLUMNS)
