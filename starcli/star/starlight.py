"""Starlight, Algorithm 1 of the paper: train a model so that the straight lines from it to all sources have low loss.

minimise over theta:  1/N sum_n E_t[L((1 - t) theta + t pi_n(theta_n))]  +  mu L(theta),        mu = 0: star, 1: fusion

Each step draws a source n and a t; the gradient by theta is (1 - t) times the gradient at the point on the line. The
permutations pi_n are found again by matching weights at the start of each epoch, from those of the epoch before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli import registry
from starcli.errors import StarcliError
from starcli.evaluation import Evaluator, recalibrate_, statistics_batch_size
from starcli.files import StateFile
from starcli.path import barrier
from starcli.permutation import Permutation
from starcli.progress import SILENT, Progress
from starcli.star.sampling import Sampling
from starcli.star.sources import Source, SourceBank
from starcli.star.warnings import warn_of_outliers
from starcli.training.engine import Row, Run
from starcli.training.loop import Plain, augmentation_of, final_metrics
from starcli.training.recipe import Recipe
from starcli.training.seeds import substream

if TYPE_CHECKING:
    from starcli.workspace import Workspace


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


@dataclass(frozen=True)
class Settings:
    """What a star run has beside its recipe; the arguments of `starlight`."""

    mu: float
    normalised: bool
    sampling: Sampling
    realign_every: int | None
    method: str | None
    restarts: int
    draws_per_step: int


@dataclass(frozen=True)
class HeldOut:
    """Models that training never sees: the barrier to each is logged every so many epochs; nothing selects by it."""

    models: Sequence[Source]
    every: int


class OnLines(Plain):
    """The objective of Starlight. The network's own parameters are the point on the line; the star is apart."""

    def __init__(
        self,
        workspace: "Workspace",
        bank: SourceBank,
        recipe: Recipe,
        seed: int,
        settings: Settings,
        held_out: HeldOut,
        progress: Progress,
    ) -> None:
        super().__init__(workspace, bank.flat, recipe, progress)
        self.bank, self.seed, self.settings, self.held_out = bank, seed, settings, held_out
        self.vector = bank.flat.parameters.clone()
        self.aligned_epoch = -1
        self.draw_generator = torch.Generator()
        self._evaluator: Evaluator | None = None

    def begin_epoch(self, epoch: int) -> Row:
        """Align the sources anew where it is their time; a resumed epoch finds that done."""
        self.flat.network.train()
        settings = self.settings
        every = settings.realign_every
        due = epoch == 0 or (every is not None and epoch % every == 0)
        if settings.method is None or not due or self.aligned_epoch == epoch:
            return {}
        found = self.bank.align(
            self._named(),
            self.workspace.spec.resolved,
            method=settings.method,
            restarts=settings.restarts,
            seed=substream(self.seed, "align", epoch),
            progress=self.progress,
        )
        self.aligned_epoch = epoch
        return found.row()

    def step(self, inputs: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """The gradient by the star of the loss at one point on a line, or at several, each with its part of the batch.

        With draws_per_step = D the batch is cut into D parts and each has its own source and t, as D ranks would.
        """
        settings = self.settings
        self.flat.zero_grad()
        scale = 1 / (1 + settings.mu) if settings.normalised else 1.0
        parts = list(zip(inputs.chunk(settings.draws_per_step), labels.chunk(settings.draws_per_step), strict=True))
        loss, correct = torch.zeros((), device=inputs.device), torch.zeros((), dtype=torch.int64, device=inputs.device)
        for number, (some_inputs, some_labels) in enumerate(parts):
            source, t = self.draw(epoch, step, number)
            following = self.draw(epoch, step, number + 1) if number + 1 < len(parts) else self.draw(epoch, step + 1, 0)
            vector = self.bank.vector(source, following[0])
            torch.lerp(self.vector, vector, t, out=self.flat.parameters)
            weight = scale * len(some_labels) / len(labels)
            # the only place where the chain rule's factor (1 - t) enters
            part_loss, part_correct = self.accumulate(some_inputs, some_labels, weight * (1 - t))
            loss, correct = loss + weight * part_loss, correct + part_correct
        if settings.mu > 0:
            self.flat.parameters.copy_(self.vector)
            own_loss, _ = self.accumulate(inputs, labels, scale * settings.mu)
            loss = loss + scale * settings.mu * own_loss
        return loss, correct

    def draw(self, epoch: int, step: int, number: int) -> tuple[int, float]:
        """Source and t of one point: a function of its place in the run."""
        place = self.draw_generator.manual_seed(substream(self.seed, "draw", epoch, step, number))
        source = int(torch.randint(len(self.bank.sources), (1,), generator=place))
        return source, self.settings.sampling(place)

    def end_epoch(self, epoch: int) -> Row:
        """The barrier to each held-out model, where it is time; the validation split is left to the end."""
        if not self.held_out.models or (epoch + 1) % self.held_out.every:
            return {}
        return {"held_out": self._barriers()}

    def describe(self, epoch: int, step: int) -> str:
        """Source and t of a step's points."""
        draws = [self.draw(epoch, step, number) for number in range(self.settings.draws_per_step)]
        return "".join(f", source {self.bank.sources[source].name} at t = {t:.4f}" for source, t in draws)

    def finish(self) -> None:
        """Put the star itself into the network, with its own BatchNorm statistics."""
        self.bank.close()
        self.flat.parameters.copy_(self.vector)
        split = self.workspace.dataset.train
        recalibrate_(
            self.flat.network,
            split,
            batch_size=statistics_batch_size(self.workspace.dataset.input_shape, len(split)),
            device=self.workspace.device,
            precision=self.workspace.precision,
            progress=self.progress,
        )

    def state(self) -> dict[str, Any]:
        """Buffers, and the permutations with the epoch they are of."""
        found = [None if p is None else dict(p.index) for p in self.bank.permutations]
        return super().state() | {"permutations": found, "aligned_epoch": self.aligned_epoch}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put `state()` back."""
        super().load_state(state)
        self.aligned_epoch = state["aligned_epoch"]
        self.bank.set(
            [
                None if index is None else Permutation.from_tensors(self.workspace.spec.resolved, index)
                for index in state["permutations"]
            ]
        )

    def _named(self) -> dict[str, Tensor]:
        """The star as a state dict; buffers are there for completeness, matching does not look at them."""
        named = self.flat.buffers | self.flat.views(self.vector)
        for tied in self.flat.tied:
            named |= {name: named[tied[0]] for name in tied[1:] if tied[0] in named}
        return {name: tensor.detach().cpu() for name, tensor in named.items()}

    def _barriers(self) -> list[Row]:
        if self._evaluator is None:
            self._evaluator = Evaluator(self.workspace)
        settings, star, rows = self.settings, self._named(), []
        for number, model in enumerate(self.held_out.models):
            tensors = model.open()
            if settings.method is not None:
                match = registry.resolve(registry.METHODS, "method", settings.method)
                seed = substream(self.seed, "held-out", number)
                result = match(star, tensors, self.workspace.spec.resolved, seed=seed, restarts=settings.restarts)
                tensors = result.permutation.apply(tensors)
            found = barrier(self._evaluator, star, tensors)
            rows.append(
                {
                    "model": model.name,
                    "train_barrier": found.train.loss_barrier,
                    "test_barrier": found.test.loss_barrier,
                }
            )
        return rows


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
    draws_per_step: int = 1,
    init: Mapping[str, Tensor] | None = None,
    held_out: Sequence[Source] = (),
    eval_every: int | None = None,
    state: StateFile | None = None,
    checkpoint_every: float | None = None,
    progress: Progress = SILENT,
) -> Star:
    """Find a star of `sources`, beginning from weights drawn from `seed` (or `init`); Algorithm 1 of the paper.

    mu: weight of the star's own loss in the objective; fusion is mu = 1. normalised: divide the objective by 1 + mu.
    sampling: how t is drawn: a name of the registry, or a function of a generator.
    realign_every: epochs between alignments of the sources to the star; None: once, before the first epoch.
    method: how they are aligned; None: never. restarts: searches of the first alignment, which has none to begin from.
    draws_per_step: points (source, t) a step, each with its part of the batch: the twin of as many ranks.
    held_out, eval_every: models to which the barrier is logged every so many epochs; training never selects by it.

    All its draws come from a stream apart from that of `train`: star 0 shares neither first weights nor order of the
    data with model 0. Saving, resuming and errors are those of `train`.
    """
    settings = _checked(
        len(sources), recipe, mu, normalised, sampling, realign_every, method, restarts, draws_per_step, eval_every
    )
    own_seed = substream(seed, "star")
    flat = workspace.network(own_seed)
    if init is not None:
        flat.load(init, finite=True)
    bank = SourceBank(sources, flat)
    warn_of_outliers(workspace, sources, progress)
    watched = HeldOut(held_out if eval_every else (), eval_every or 1)
    objective = OnLines(workspace, bank, recipe, own_seed, settings, watched, progress)
    run = Run(
        objective,
        workspace.dataset.train,
        recipe,
        own_seed,
        augmentation=augmentation_of(recipe, workspace.dataset),
        task=f"{'fusing' if mu else 'star'} seed {seed}",
        state=state,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )
    history = run.run()
    with run.saving_when_stopped():
        objective.finish()
        metrics = final_metrics(flat, workspace, progress)
    return Star(flat.state(), metrics, history, bank.permutations, bank.aligned)


def _checked(
    sources: int,
    recipe: Recipe,
    mu: float,
    normalised: bool,
    sampling: str | Sampling,
    realign_every: int | None,
    method: str | None,
    restarts: int,
    draws_per_step: int,
    eval_every: int | None,
) -> Settings:
    problems = []
    if sources < 2:
        problems.append(f"a star connects at least 2 source models, found {sources}")
    if not 0 <= mu < float("inf"):
        problems.append(f"mu is a number from 0 up, found {mu}")
    for name, value in (("realign_every", realign_every), ("eval_every", eval_every)):
        if value is not None and value < 1:
            problems.append(f"{name} is a number of epochs from 1 up, found {value}")
    if restarts < 1:
        problems.append(f"restarts is at least 1, found {restarts}")
    if not 1 <= draws_per_step <= recipe.batch_size:
        problems.append(f"draws_per_step is between 1 and the batch size {recipe.batch_size}, found {draws_per_step}")
    if problems:
        raise StarcliError("these settings of a star do not work", problems)
    if isinstance(sampling, str):
        sampling = registry.resolve(registry.SAMPLINGS, "sampling", sampling)
    if method is not None:
        registry.lookup(registry.METHODS, "method", method)
    assert callable(sampling)
    return Settings(mu, normalised, sampling, realign_every, method, restarts, draws_per_step)
