"""Starlight, Algorithm 1 of the paper: train a model so that the straight lines from it to all sources have low loss.

minimise over theta:  1/N sum_n E_t[L((1 - t) theta + t pi_n(theta_n))]  +  mu L(theta),        mu = 0: star, 1: fusion

Each step draws a source n and a t; the gradient by theta is (1 - t) times the gradient at the point on the line. The
permutations pi_n are found again by matching weights at the start of each epoch, from those of the epoch before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from starcli import registry
from starcli.errors import StarcliError
from starcli.files.state import StateFile
from starcli.runtime.progress import SILENT, Progress
from starcli.star.check_sources import warn_of_outliers
from starcli.star.sampling import Sampling
from starcli.star.source_bank import Source, SourceBank
from starcli.star.starlight_step import HeldOut, OnLines, StarSettings
from starcli.symmetry.permutation import Permutation
from starcli.training.batch_pieces import pieces_per_step
from starcli.training.objective import Row
from starcli.training.recipe import Recipe
from starcli.training.run import TrainingRun
from starcli.training.seeds import substream
from starcli.training.train import augmentation_of, final_metrics

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Star:
    """A star model: its state dict, final scores by split, a row for each epoch, and training's own permutations.

    `aligned(n)` opens source n under its final permutation; `permutations[n]` is None where nothing was aligned.
    """

    tensors: Mapping[str, Tensor]
    metrics: Mapping[str, Mapping[str, float]]
    history: Sequence[Row]
    permutations: Sequence[Permutation | None]
    aligned: Callable[[int], Mapping[str, Tensor]]


def starlight(
    workspace: "Workspace",
    sources: Sequence[Source],
    recipe: Recipe,
    seed: int,
    *,
    mu: float = 0.0,
    normalised: bool = False,
    sampling: str | Sampling = "uniform",
    realign_every: int | None = 1,
    method: str | None = "weight",
    restarts: int = 1,
    draws_per_step: int | None = None,
    init: Mapping[str, Tensor] | None = None,
    held_out: Sequence[Source] = (),
    eval_every: int | None = None,
    state: StateFile | None = None,
    checkpoint_every: float | None = None,
    progress: Progress = SILENT,
) -> Star:
    """Find a star of `sources`, beginning from weights drawn from `seed` (or `init`); Algorithm 1 of the paper.

    What training leaves as it is (frozen parameters, float buffers that are no statistics) goes along the lines too;
    the star itself has it from its first source, or from `init`.

    mu: weight of the star's own loss in the objective; fusion is mu = 1. normalised: divide the objective by 1 + mu.
    sampling: how t is drawn: a name of the registry, or a function of a generator.
    realign_every: epochs between alignments of the sources to the star; None: once, before the first epoch.
    method: how they are aligned; None: never. restarts: searches of the first alignment, which has none to begin from.
    draws_per_step: points (source, t) a step, each with its piece of the batch; ranks share them (default: one each).
    held_out, eval_every: barriers to these are logged every so many epochs (None: after the last) and select nothing.

    All its draws come from a stream apart from that of `train`: star 0 shares neither first weights nor order of the
    data with model 0. Saving, resuming and errors are those of `train`.
    """
    settings = _checked(
        len(sources), recipe, mu, normalised, sampling, realign_every, method, restarts, draws_per_step, eval_every
    )
    own_seed = substream(seed, "star")
    bank = _bank(workspace, sources, own_seed, init, progress)
    watched = HeldOut(held_out, eval_every or recipe.epochs)
    objective = OnLines(workspace, bank, recipe, own_seed, settings, watched, progress)
    objective.fix(sources[0].open() if init is None else init)
    run = TrainingRun(
        objective,
        workspace.dataset.train,
        recipe,
        own_seed,
        augmentation=augmentation_of(recipe, workspace.dataset),
        task=f"{'fusing' if mu else 'star'} seed {seed}",
        state=state,
        checkpoint_every=checkpoint_every,
        pieces=settings.draws_per_step,
        progress=progress,
    )
    history = run.run()
    with run.saving_when_stopped():
        objective.finish()
        metrics = final_metrics(bank.flat, workspace, progress)
    return Star(bank.flat.state(), metrics, history, bank.permutations, bank.aligned)


def _bank(
    workspace: "Workspace", sources: Sequence[Source], seed: int, init: Mapping[str, Tensor] | None, progress: Progress
) -> SourceBank:
    """The sources, with the network as the star begins; a note names those that are no solutions."""
    flat = workspace.network(seed)
    if init is not None:
        flat.load(init, finite=True)
    warn_of_outliers(workspace, sources, progress)
    return SourceBank(sources, flat)


def _checked(
    sources: int,
    recipe: Recipe,
    mu: float,
    normalised: bool,
    sampling: str | Sampling,
    realign_every: int | None,
    method: str | None,
    restarts: int,
    draws_per_step: int | None,
    eval_every: int | None,
) -> StarSettings:
    problems = []
    if sources < 2:
        problems.append(f"a star connects at least 2 source models, found {sources}")
    if not 0 <= mu < float("inf"):
        problems.append(f"mu is a number from 0 up, found {mu}")
    for name, value in (("realign_every", realign_every), ("eval_every", eval_every)):
        if value is not None and value < 1:
            problems.append(f"{name} is a number of epochs from 1 up, found {value}")
    if restarts < 0:
        problems.append(f"restarts is at least 0, found {restarts}")
    if draws_per_step is not None and not 1 <= draws_per_step <= recipe.batch_size:
        problems.append(f"draws_per_step is between 1 and the batch size {recipe.batch_size}, found {draws_per_step}")
    if problems:
        raise StarcliError("these settings of a star do not work", problems)
    if isinstance(sampling, str):
        sampling = registry.resolve(registry.SAMPLINGS, "sampling", sampling)
    if method is not None:
        registry.lookup(registry.METHODS, "method", method)
    assert callable(sampling)
    draws = pieces_per_step(draws_per_step, recipe.batch_size)
    return StarSettings(mu, normalised, sampling, realign_every, method, restarts, draws)
