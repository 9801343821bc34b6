"""Starlight, Algorithm 1 of the paper: train a model so that the straight lines from it to all sources have low loss.

minimise over theta:  1/N sum_n E_t[L((1 - t) theta + t pi_n(theta_n))]  +  mu L(theta),        mu = 0: star, 1: fusion

Each step draws a source n and a t; the gradient by theta is (1 - t) times the gradient at the point on the line. The
permutations pi_n are found again at the start of each epoch, from those of the epoch before: by weight matching in the
paper, by activations beside the weights unless the settings say otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.notes import note_one_order
from starcli.averaging.sampling import lies_between
from starcli.errors import StarcliError, need_several
from starcli.evaluation.mixed_buffers import admit_points
from starcli.files.state import StateFile
from starcli.models.flat_network import FlatNetwork
from starcli.runtime.progress import SILENT, Progress
from starcli.star.check_sources import warn_of_outliers, warn_of_weak_star
from starcli.star.companions import train_companions
from starcli.star.source_bank import Source, SourceBank
from starcli.star.star_search import StarSearch
from starcli.star.starlight_step import OnLines
from starcli.symmetry.symmetries import Symmetry
from starcli.training.objective import Row
from starcli.training.run import TrainingRun
from starcli.training.seeds import substream
from starcli.training.train import final_metrics

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Star:
    """A star model: its state dict, final scores by split, a row for each epoch, and how training aligned sources.

    `aligned(n)` opens source n as it was aligned last; `symmetries[n]` is None where nothing was aligned.
    """

    tensors: Mapping[str, Tensor]
    metrics: Mapping[str, Mapping[str, float]]
    history: Sequence[Row]
    symmetries: Sequence[Symmetry | None]
    aligned: Callable[[int], Mapping[str, Tensor]]


def starlight(
    workspace: "Workspace", search: StarSearch, *, state: StateFile | None = None, progress: Progress = SILENT
) -> Star:
    """Find a star, beginning from weights drawn from the seed of `search` (or its `init`); Algorithm 1 of the paper.

    Alignment by all kinds of symmetries, and by methods that learn these, has nothing to do with random weights: then
    the sources are aligned to the first of them, and the star begins at their mean (or at `init`).

    What training leaves as it is (frozen parameters, buffers that are averaged) goes along the lines too; the star
    itself has it from its first source, or from `init`.

    With `settings.companions` the search trains further sources itself, in a part of its epochs: see
    `starcli.star.companions`.

    All its draws come from a stream apart from that of `train`: star 0 shares neither first weights nor order of the
    data with model 0. Saving, resuming and errors are those of `train_network`.
    """
    _check(search, progress)
    settings, own_seed = search.settings, substream(search.seed, "star")
    sources, held_out = ([Source.of(model) for model in models] for models in (search.sources, search.held_out))
    losses = warn_of_outliers(workspace, sources, progress)
    note_one_order(workspace, settings.alignment, search.sources, progress)
    init = None if search.init is None else search.init.tensors
    flat = _first_network(workspace, own_seed, init)
    ends = [*search.sources, *search.held_out, *([search.init] if search.init is not None else [])]
    admit_points(workspace, flat, (model.fresh_tensors() for model in ends), "a star", progress)
    companions, state = train_companions(workspace, search.recipe, settings, own_seed, state=state, progress=progress)
    recipe, bank = settings.own_recipe(search.recipe), SourceBank([*sources, *companions], flat)
    how: dict[str, Any] = {"at_mean": init is None and settings.begins_at_mean}
    how |= {"turns": None if search.growth is None else search.growth.turns()}
    objective = OnLines(workspace, bank, recipe, own_seed, settings, held_out, progress, **how)
    objective.fix(sources[0].open() if init is None else init)
    run = TrainingRun(
        objective,
        workspace.dataset,
        recipe,
        own_seed,
        task=f"{'fusing' if settings.mu else 'star'} seed {search.seed}",
        state=state,
        pieces=settings.pieces(search.recipe),
        progress=progress,
    )
    with objective.batchnorm:
        history = run.run()
    with run.saving_when_stopped():
        objective.finish()
        metrics = final_metrics(bank.flat, workspace, progress)
    what = f"the {'fused model' if settings.mu else 'star'} of seed {search.seed}"
    warn_of_weak_star(workspace, bank.flat.state(), losses, what, progress)
    return Star(bank.flat.state(), metrics, history, bank.symmetries[: len(sources)], bank.aligned)


def _check(search: StarSearch, progress: Progress) -> None:
    recipe, settings = search.recipe, search.settings
    need_several(search.sources)
    if not lies_between(settings.sampling):
        what = "it has no point between star and source to train on"
        problems = [f"sampling {settings.sampling} is for averages: {what}"]
        raise StarcliError("these settings of a star do not work", problems)
    if settings.pull and recipe.weight_decay:
        to_zero = f"weight decay {recipe.weight_decay:.3g} draws it to 0"
        progress.note(f"the star is drawn to the mean of its sources, and {to_zero}: --weight-decay 0 leaves that out")


def _first_network(workspace: "Workspace", seed: int, init: Mapping[str, Tensor] | None) -> FlatNetwork:
    """The network as the star begins."""
    flat = workspace.network(seed)
    if init is not None:
        flat.load(init)
    return flat
