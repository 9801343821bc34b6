"""One step of Starlight (Algorithm 1): the loss at a random point of the line from the star to one of its sources.

1/N sum_n E_t[L((1 - t) theta + t pi_n(theta_n))]  +  mu L(theta)

The network's own parameters hold the point on the line, the star is a vector apart. The gradient by the star is (1 - t)
times the gradient at the point.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.barriers.line_barrier import measure_line
from starcli.evaluation.evaluator import Evaluator, PathEnd
from starcli.models.spectral_norm import approach_spectral_norms_
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed, sharing
from starcli.runtime.progress import Progress
from starcli.runtime.rehearsal import once_if_rehearsed, present_rehearsal
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Realignment, Source, SourceBank
from starcli.training.batch_pieces import steps_per_epoch
from starcli.training.fixed_tensors import fixed_in_training
from starcli.training.objective import Row
from starcli.training.seeds import substream
from starcli.training.train import PlainObjective, final_statistics_

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


class OnLines(PlainObjective):
    """The objective of Starlight. The network's own parameters are the point on the line; the star is apart.

    What is `fixed_in_training` goes along the line, as in `barrier`; the star keeps that of `bank.flat`.
    """

    def __init__(
        self,
        workspace: "Workspace",
        bank: SourceBank,
        recipe: Recipe,
        seed: int,
        settings: StarSettings,
        held_out: Sequence[Source],
        progress: Progress,
        *,
        at_mean: bool = False,
        turns: Sequence[int] | None = None,
    ) -> None:
        """Begin with the star as `bank.flat` is; `at_mean`: at the mean of the sources, all aligned to the first.

        held_out: models that training never sees: the barrier to each is logged, and nothing selects by it.
        turns: numbers of sources, one of which is drawn in each step, see `Growth.turns` (None: all of them alike).
        """
        super().__init__(workspace, bank.flat, recipe, progress, sync_batchnorm=settings.sync_batchnorm)
        self.bank, self.seed, self.settings, self.held_out = bank, seed, settings, held_out
        self.passes = 2 if settings.mu > 0 else 1
        self.draws_per_step, self.draw_t = settings.draws(recipe), settings.draw_t
        self.batch_size, self.eval_every = recipe.batch_size, settings.eval_every or recipe.epochs
        self.vector = bank.flat.parameters.clone()
        self.parts = list(bank.flat.views(self.vector).values())
        self.point = fixed_in_training(bank.flat, workspace.dataset.train)
        self.fixed = {name: tensor.clone() for name, tensor in self.point.items()}
        self.aligned_epoch = -1
        self.aligned_vector: Tensor | None = None
        self._centre: Tensor | None = None
        self.draw_generator = torch.Generator()
        self.at_mean, self.turns = at_mean, turns or range(len(bank.sources))
        self.aligner = self.realigner = Aligner(settings.alignment, workspace)
        if settings.realignment != settings.alignment:
            self.realigner = Aligner(settings.realignment, workspace)
        self._evaluator: Evaluator | None = None

    def begin_epoch(self, epoch: int) -> Row:
        """Align the sources anew where it is their time; a resumed epoch finds that done."""
        self.flat.network.train()
        if not self.aligner.active or not self.settings.realigns_in(epoch) or self.aligned_epoch == epoch:
            return {}
        if not self._has_moved():
            self.aligned_epoch = epoch  # a run that goes on in this epoch does not ask again
            return {}
        seed = substream(self.seed, "align", epoch)
        if epoch == 0 and self.at_mean:
            found = self.bank.gather(self.aligner, seed, progress=self.progress)
            self.vector.copy_(self.bank.mean())
        else:
            aligner, restarts = self.realigner if epoch else self.aligner, self.settings.realign_restarts
            star = self._named(self._disturbed(epoch))
            found = self._align(star, aligner, seed, restarts, self._to_align(epoch))
        self.aligned_epoch, self._centre = epoch, None
        if self.settings.realign_drift is not None:
            self.aligned_vector = self.vector.clone()
        return found.row()

    def _align(
        self, star: Mapping[str, Tensor], aligner: Aligner, seed: int, restarts: int, numbers: Sequence[int]
    ) -> Realignment:
        """Align sources, from where they are; those that are to come in another order each time, from the start."""
        if self.settings.realign_noise:
            self.bank.set(dict.fromkeys(numbers))
        return self.bank.align(star, aligner, seed, restarts, numbers, progress=self.progress)

    def _to_align(self, epoch: int) -> Sequence[int]:
        """The sources that are aligned in an epoch which aligns: all, or those that its steps draw."""
        if epoch == 0 or self.settings.realign_every != "drawn":
            return range(len(self.bank.sources))
        steps = range(steps_per_epoch(len(self.workspace.dataset.train), self.batch_size))
        places = itertools.product(steps, range(self.draws_per_step))
        return sorted({self.draw(epoch, step, number)[0] for step, number in places})

    def _disturbed(self, epoch: int) -> Tensor:
        """The star that sources are aligned to: with noise where that is asked for, for first it is random anyway."""
        share = self.settings.realign_noise
        if not (share and epoch):
            return self.vector
        star = self.vector.clone()
        self._add_noise(star, share, "realign", epoch)
        return star

    def _has_moved(self) -> bool:
        """Whether the star is far enough from where the sources were aligned to it; in a rehearsal it always is."""
        drift, before = self.settings.realign_drift, self.aligned_vector
        if drift is None or before is None or present_rehearsal() is not None:
            return True
        far = float((self.vector - before).norm()) > drift * float(before.norm())
        return distributed.by_writer(lambda: far)  # ranks align together, or none of them

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add the gradient by the star of the loss at one point on a line; each piece of a batch has its own point."""
        settings = self.settings
        self.batchnorm.counted = weight > 0
        scale = 1 / (1 + settings.mu) if settings.normalised else 1.0
        source, t = self.draw(epoch, step, number)
        following = None if self.bank.keeps else self._following(epoch, step, number)
        self.bank.put_between_(self.vector, self.fixed, source, t, following)
        if settings.noise:
            self._add_noise(self.flat.parameters, settings.noise, "noise", epoch, step, self._place(number))
            approach_spectral_norms_(self.flat.normalised_weights)
        # the only place where the chain rule's factor (1 - t) enters
        loss, correct = self.accumulate(inputs, labels, weight * scale * (1 - t))
        loss = scale * loss
        if settings.mu > 0:
            self._put_star()
            own_loss, _ = self.accumulate(inputs, labels, weight * scale * settings.mu)
            loss = loss + scale * settings.mu * own_loss
        return loss, correct

    def _add_noise(self, vector: Tensor, share: float, *place: int | str) -> None:
        """Noise on a vector (P,), by its place in the run: share rms(w) N(0, 1) on each tensor w."""
        generator = torch.Generator(vector.device)
        generator.manual_seed(substream(self.seed, *place))
        for tensor in self.flat.views(vector).values():
            drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
            tensor += share * tensor.square().mean().sqrt() * drawn

    def clear(self) -> None:
        """Forget the gradients, and begin those of a step with that of the pull; on one rank, for ranks are summed."""
        super().clear()
        if self.settings.pull and distributed.is_writer():
            self._pull(self.settings.pull)

    def _pull(self, strength: float) -> None:
        """Begin the gradient with that of strength / 2 |star - mean of the sources as they are aligned|^2."""
        if self._centre is None:
            self._centre = self.bank.mean()
        centre = self.flat.views(self._centre).values()
        for parameter, own, mean in zip(self.parameters, self.parts, centre, strict=True):
            parameter.grad = strength * (own - mean)

    def _put_star(self) -> None:
        """The star itself into the network, but for running statistics; vectors of spectral norms nearly."""
        self.flat.parameters.copy_(self.vector)
        for name, own in self.fixed.items():
            self.point[name].copy_(own)
        approach_spectral_norms_(self.flat.normalised_weights)

    def fix(self, model: Mapping[str, Tensor]) -> None:
        """Let the star have what training leaves as it is from `model`."""
        for name, own in self.fixed.items():
            own.copy_(model[name])
        self.flat.set_extra_state(model)

    def buffers(self) -> Sequence[Tensor]:
        """Running statistics and the like, without what each step sets by its t."""
        return [tensor for name, tensor in self.flat.buffers.items() if name not in self.fixed]

    def _following(self, epoch: int, step: int, number: int) -> int:
        """The source that this process draws next."""
        each = self.draws_per_step // distributed.size()
        first = distributed.rank() * each
        following = (step, number + 1) if number + 1 < first + each else (step + 1, first)
        return self.draw(epoch, *following)[0]

    def draw(self, epoch: int, step: int, number: int) -> tuple[int, float]:
        """Source and t of one point: a function of its place in the run."""
        place = self.draw_generator.manual_seed(substream(self.seed, "draw", epoch, step, self._place(number)))
        source = self.turns[int(torch.randint(len(self.turns), (1,), generator=place))]
        return source, self.draw_t(place)

    def _place(self, number: int) -> int:
        """Number of the point of a piece.

        Pieces whose BatchNorm has statistics in common are all at one point, for only there do these mean something.
        """
        return 0 if self.settings.sync_batchnorm else number

    def end_epoch(self, epoch: int) -> Row:
        """The barrier to each held-out model, where it is time; the validation split is left to the end."""
        if not self.held_out or (epoch + 1) % self.eval_every:
            return {}
        what = f"barriers to {len(self.held_out)} held-out models"
        return {"held_out": once_if_rehearsed(what, self._barriers)}

    def describe(self, epoch: int, step: int) -> str:
        """Source and t of a step's points."""
        draws = [self.draw(epoch, step, number) for number in range(self.draws_per_step)]
        return "".join(f", source {self.bank.sources[source].name} at t = {t:.4f}" for source, t in draws)

    def finish(self) -> None:
        """Put the star itself into the network, with its own BatchNorm statistics; sources are aligned to no noise."""
        if self.settings.realign_noise:
            seed, restarts = substream(self.seed, "align", "at the end"), self.settings.realign_restarts
            self._align(self._named(), self.realigner, seed, restarts, range(len(self.bank.sources)))
        self.bank.close()
        self._put_star()
        final_statistics_(self.flat, self.workspace, self.progress)

    def state(self) -> dict[str, Any]:
        """Buffers, and the permutations or elements with the epoch they are of."""
        found = [None if each is None else each.to_tensors() for each in self.bank.symmetries]
        moved_from = {} if self.aligned_vector is None else {"aligned_vector": self.aligned_vector}
        return super().state() | {"permutations": found, "aligned_epoch": self.aligned_epoch} | moved_from

    def load_state(self, state: dict[str, Any]) -> None:
        """Put `state()` back."""
        super().load_state(state)
        self.aligned_epoch = state["aligned_epoch"]
        if "aligned_vector" in state:
            self.aligned_vector = state["aligned_vector"].to(self.vector.device)
        kept = [None if each is None else self.aligner.symmetry(each) for each in state["permutations"]]
        self.bank.set(dict(enumerate(kept)))

    def _named(self, vector: Tensor | None = None) -> dict[str, Tensor]:
        """The star (or `vector`) as a state dict; buffers are for completeness, matching does not look at them."""
        vector = self.vector if vector is None else vector
        named = self.flat.buffers | self.flat.extra_state | self.fixed | self.flat.views(vector)
        for tied in self.flat.tied:
            named |= {name: named[tied[0]] for name in tied[1:] if tied[0] in named}
        return {name: tensor.detach().cpu() for name, tensor in named.items()}

    def _barriers(self) -> list[Row]:
        if self._evaluator is None:
            self._evaluator = Evaluator(self.workspace, renormalise=self.settings.renormalise)
        evaluator, star = self._evaluator, PathEnd(self._named())

        def measured(number: int) -> Row:
            model = self.held_out[number]
            tensors = self.aligner.permuted(star.model, model.open(), seed=substream(self.seed, "held-out", number))
            curves = measure_line(evaluator, star, tensors).curves
            barriers = {f"{split}_barrier": c.loss_barrier for split, c in curves.items()}
            return {"model": model.name, **barriers, **self.settings.renormalise.settings()}

        return sharing.share_out(range(len(self.held_out)), measured)
