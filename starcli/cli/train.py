"""starcli train"""

from typing import TYPE_CHECKING, Any

from starcli.cli.bundles import Common, Setup, Training
from starcli.cli.command import command
from starcli.cli.inputs import spec_record
from starcli.cli.options import EveryOpt, ForceOpt, OutputOpt, RecipeOpt, SeedOpt, SeedsOpt
from starcli.cli.output import LOSS, SHARE, Column
from starcli.cli.targets import Job, fill
from starcli.cli.values import seed_list

if TYPE_CHECKING:
    from starcli.checkpoint import Metadata

COLUMNS = (
    Column("output", "checkpoint", "name"),
    Column("seed", "seed", "d"),
    Column("train.loss", "train loss", LOSS),
    Column("train.accuracy", "accuracy", SHARE),
    Column("validation.loss", "validation loss", LOSS),
    Column("validation.accuracy", "accuracy", SHARE),
    Column("test.loss", "test loss", LOSS),
    Column("test.accuracy", "accuracy", SHARE),
)


@command("starcli train --arch resnet --data digits --seeds 0-7 -o 'ckpts/{seed}.safetensors'")
def train(
    output: OutputOpt,
    common: Common,
    setup: Setup,
    training: Training,
    *,
    recipe: RecipeOpt = None,
    seed: SeedOpt = 0,
    seeds: SeedsOpt = None,
    checkpoint_every: EveryOpt = None,
    force: ForceOpt = False,
) -> None:
    """Train networks from random weights, one for each seed.

    Settings come from the recipe, each can be set by a flag. A stopped run goes on when the same line is typed again;
    the loss of every epoch is kept beside the checkpoint, in 0.metrics.jsonl for 0.safetensors.
    """
    from starcli.provenance import plan
    from starcli.training import loop
    from starcli.training.recipe import DEFAULT, load
    from starcli.workspace import new_workspace

    chosen = training.over(load(recipe or DEFAULT))
    numbers = seed_list(seeds) if seeds else [seed]
    paths = fill(output, [{"seed": number} for number in numbers])
    workspace = new_workspace(setup.choices(chosen))
    with common.session(output) as (watch, results):
        spec = spec_record(workspace, watch)
        plans = [plan(workspace, "model", chosen.settings(), seed=number, spec=spec) for number in numbers]
        for job in [Job(path, wanted, watch, force=force) for path, wanted in zip(paths, plans, strict=True)]:
            with job.making() as needed:
                if needed:
                    trained = loop.train(
                        workspace, chosen, job.plan.seed or 0, state=job.state, checkpoint_every=checkpoint_every,
                        progress=watch,
                    )  # fmt: skip
                    job.write(trained.tensors, history=trained.history, metrics=trained.metrics)
            results.add("train", row(str(job.path), job.finished), COLUMNS)


def row(output: str, metadata: "Metadata") -> dict[str, Any]:
    """What is shown of a trained network: taken from its file, so that a finished one is shown again just so."""
    return {
        "output": output,
        "seed": metadata.seed,
        "arch": metadata.architecture.name if metadata.architecture else None,
        "data": metadata.data.name if metadata.data else None,
        **{split: (metadata.metrics or {}).get(split) for split in ("train", "validation", "test")},
    }
