"""starcli fuse"""

from typing import Annotated

import typer

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
    one_of,
    words,
)
from starcli.cli.output import LOSS, SHARE, Column
from starcli.cli.starlight import Run, Search

COLUMNS = (
    Column("model", "model"),
    Column("name", "file", "name"),
    Column("split", "split"),
    Column("accuracy", "accuracy", SHARE),
    Column("loss", "loss", LOSS),
    Column("selected_on", "chosen on", optional=True),
)


@command("starcli fuse --sources ckpts/*.safetensors -o fused.safetensors")
def fuse(
    sources: SourcesOpt,
    output: OutputOpt,
    common: Common,
    setup: Setup,
    training: Training,
    *,
    recipe: RecipeOpt = None,
    seed: SeedOpt = 0,
    seeds: SeedsOpt = None,
    mu: Annotated[float, typer.Option("--mu", min=0, help="Weight of the model's own loss.")] = 1.0,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            help="sum, or normalised: divided by 1 + mu.",
            autocompletion=words("sum", "normalised"),
            callback=one_of("objective", "sum", "normalised"),
        ),
    ] = "sum",
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
    """Fuse several models into one that costs no more than one of them.

    As star, with the model's own loss added to that on the lines. Shows the fused model beside each source, the best of
    them (chosen on the validation split), their ensemble and the mean of the aligned sources.
    """  # fmt: skip
    search = Search(
        sampling, realign_every, align, restarts, draws_per_step, init, eval_every, checkpoint_every, force, mu,
        objective == "normalised",
    )  # fmt: skip
    with common.session(output) as (watch, results):
        run = Run(sources, held_out or [], output, setup, training, recipe, seeds or str(seed), search, watch)
        for made in run.all("fused", aligned_sources):
            for row in made.compared(run.workspace, search, watch):
                results.add("fuse", row, COLUMNS)
