"""Settings of a search for a star, beside the recipe of its training."""

import math
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Literal

from starcli.alignment.alignment import Alignment
from starcli.averaging.sampling import Sampling, sampling_name, sampling_of
from starcli.errors import StarcliError, number_of
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.recipes.recipe import Recipe
from starcli.registry.alignment_methods import DEFAULT_METHOD, METHODS
from starcli.runtime import distributed
from starcli.star.companions import shared_epochs
from starcli.training.batch_pieces import pieces_per_step


@dataclass(frozen=True, kw_only=True)
class StarSettings:
    """How a star is searched for: the objective, the draws, the alignment of its sources.

    mu: weight of the star's own loss in the objective; fusion is mu = 1. normalised: divide the objective by 1 + mu.
    sampling: how t is drawn, see `sampling_of`.
    alignment: of the sources to the star; its restarts are those of the first alignment, which has none to begin from;
        all seeds come from the star's own.
    realign_restarts: rounds of the search in each later alignment, which begins from the one before; methods that learn
        do without a search there, and take a tenth of the steps.
    realign_method: of these later alignments (None: the method itself, of `learn` weight), by the same kinds.
    realign_every: epochs between alignments of the sources to the star; None: once, before the first epoch; "drawn":
        all before the first epoch, then in each one those that its steps draw, for others are aligned for nothing.
    realign_drift: of these alignments, only those where the star has moved by more than this share of its norm since
        it was last aligned to (None: all).
    realign_noise: standard deviation of Gaussian noise on each tensor of the star that sources are aligned anew to, as
        a share of the root mean square of its entries: they come in another near-optimal order each time, as models do
        that it never saw, in a search with the restarts of the first. After the last epoch they are aligned to the
        star itself.
    draws_per_step: points (source, t) a step, each with its piece of the batch; ranks share them (None: one each).
    sync_batchnorm: ranks go to one point a step together, with BatchNorm statistics of the whole batch, as one process.
    noise: standard deviation of the Gaussian noise on each tensor of the points that are trained on, as a share of the
        root mean square of its entries; stars that bear it are nearer to models that they never saw.
    pull: strength k of a pull to the mean of the sources as they are aligned: k / 2 |star - mean|^2 beside the loss, in
        the place of weight decay, which draws the star to 0 as well where the recipe has it.
    companions: networks that the search trains itself in half of its epochs, as further sources; see
        `starcli.star.companions`.
    eval_every: epochs between barriers to held-out models in the log (None: after the last epoch).
    renormalise: what is done to activations at points that are measured, of these lines and of the means of `fuse`; it
        changes no star.

    StarcliError with all that is wrong.

    >>> StarSettings(mu=1.0, sampling="beta").alignment.title
    'activation, 1 restart, 256 examples'
    """

    mu: float = 0.0
    normalised: bool = False
    sampling: str | Sampling = "uniform"
    alignment: Alignment = Alignment(DEFAULT_METHOD)  # noqa: RUF009  a frozen value
    realign_every: int | Literal["drawn"] | None = 1
    realign_restarts: int = 1
    realign_method: str | None = None
    realign_drift: float | None = None
    realign_noise: float = 0.0
    draws_per_step: int | None = None
    noise: float = 0.0
    pull: float = 0.0
    companions: int = 0
    eval_every: int | None = None
    sync_batchnorm: bool = False
    renormalise: Renormalise = RECALIBRATE

    def __post_init__(self) -> None:
        self._check_realign_method()
        problems = [] if 0 <= self.mu < math.inf else [f"mu is a finite number from 0 up, found {self.mu}"]
        if self.eval_every is not None and self.eval_every < 1:
            problems.append(f"eval_every is a number of epochs from 1 up, found {self.eval_every}")
        if self.realign_restarts < 1:
            problems.append(f"realign_restarts is at least 1, found {self.realign_restarts}")
        elif self.realign_restarts > 1 and self.realignment.learns:
            problems.append(f"realign_restarts is not for {self.realignment.method}, which learns on without a search")
        if self.realign_method is not None and not self.alignment.active:
            problems.append("realign_method is for sources that are aligned at first, too")
        elif self.realignment != self.alignment and self.realignment.learns:
            problems.append(f"realign_method is the method itself, or one that searches, found {self.realign_method}")
        problems += self._problems_of_times() + self._problems_of_later_alignments()
        problems += self._problems_of_drift() + self._problems_of_shares()
        if self.alignment.select:
            problems.append("select midpoint is for models that are aligned once, not for sources in every epoch")
        if self.draws_per_step is not None and self.draws_per_step < 1:
            problems.append(f"draws_per_step is at least 1, found {self.draws_per_step}")
        if self.companions < 0:
            problems.append(f"companions is a number from 0 up, found {self.companions}")
        if self.sync_batchnorm and self.draws_per_step not in (None, 1):
            problems.append(f"sync_batchnorm goes with one draw a step, found draws_per_step {self.draws_per_step}")
        if problems:
            raise StarcliError("these settings of a star do not work", problems)
        sampling_of(self.sampling)

    def _check_realign_method(self) -> None:
        """StarcliError for a method of later epochs that knows permutations alone, where the first one knows more."""
        name = self.realign_method
        if name is None or not self.alignment.uses_kinds:
            return
        if "kinds" not in Alignment(name).match_method.settings:
            takers = [each for each in METHODS if "kinds" in Alignment(each).match_method.settings]
            raise StarcliError(
                f"realign_method (--realign-method) {name} knows permutations alone; sources are aligned by all kinds",
                [f"{', '.join(takers)}: these know them"],
            )

    def _problems_of_times(self) -> list[str]:
        every = self.realign_every
        whole = isinstance(every, int) and not isinstance(every, bool)
        if not (every is None or every == "drawn" or (whole and every >= 1)):
            return [f"realign_every is a number of epochs from 1 up, 'drawn' or None, found {every!r}"]
        if not self.alignment.active and every not in (None, 1):
            return [f"realign_every {every} is for sources that are aligned"]
        return []

    def _problems_of_later_alignments(self) -> list[str]:
        """What is said of alignments after the first, where there are none."""
        if self.alignment.active and self.realign_every is not None:
            return []
        said = {
            "realign_restarts": self.realign_restarts > 1,
            "realign_method": self.realign_method is not None and self.alignment.active,
            "realign_drift": self.realign_drift is not None,
            "realign_noise": bool(self.realign_noise),
        }
        return [f"{name} is for sources that are aligned anew" for name, value in said.items() if value]

    def _problems_of_drift(self) -> list[str]:
        if self.realign_drift is None:
            return []
        if not 0 < self.realign_drift < math.inf:
            return [f"realign_drift is a share above 0, found {self.realign_drift}"]
        if self.realign_every == "drawn":  # each would have moved from another star
            return ["realign_drift is for sources that are all aligned at once, found realign_every drawn"]
        if self.realignment != self.alignment:  # nobody would know by which of them a source was aligned last
            return [f"realign_drift is for one method, found {self.alignment.method} and {self.realignment.method}"]
        return []

    def _problems_of_shares(self) -> list[str]:
        shares = {name: getattr(self, name) for name in ("noise", "realign_noise", "pull")}
        wrong = {name: share for name, share in shares.items() if not 0 <= share < math.inf}
        problems = [f"{name} is a finite number from 0 up, found {share}" for name, share in wrong.items()]
        if self.realign_noise and self.realign_restarts > 1:
            problems.append("realign_restarts is for searches from where sources are, which realign_noise has none of")
        if self.realign_noise and (self.alignment.learns or self.alignment.uses_kinds):
            problems.append(f"realign_noise is for searches among permutations, found {self.alignment.title}")
        return problems

    def check_measured(self, kind: str, held_out: Sized) -> None:
        """Raise StarcliError where points are to be renormalised in the search for a star, and none are measured."""
        if kind == "star" and self.renormalise.active and not held_out:
            raise StarcliError("--renormalise is for lines that are measured: it needs --held-out models")

    @property
    def realignment(self) -> Alignment:
        """How the sources are aligned anew.

        >>> StarSettings(alignment=Alignment("weight", kinds="all"), realign_method="weight").realignment.title
        'weight, 1 restart, all kinds'
        """
        how = self.alignment
        method = self.realign_method or (how.match_method.realign if how.active else None)
        if not how.active or method in (None, how.method):
            return how
        kinds = "all" if how.uses_kinds else None
        restarts = how.restarts if self.realign_noise else self.realign_restarts
        return Alignment(method, restarts=restarts, seed=how.seed, kinds=kinds)

    def realigns_in(self, epoch: int) -> bool:
        """Whether sources are aligned before this epoch."""
        if epoch == 0 or self.realign_every == "drawn":
            return True
        return self.realign_every is not None and epoch % self.realign_every == 0

    def last_alignment(self, epochs: int) -> Alignment:
        """How the sources are aligned in the last of so many epochs that aligns them; after them, with realign_noise.

        >>> settings = StarSettings(alignment=Alignment("learn"), realign_every=5)
        >>> settings.last_alignment(5).method, settings.last_alignment(6).method
        ('learn', 'weight')
        """
        anew = any(self.realigns_in(epoch) for epoch in range(1, epochs))
        return self.realignment if anew or self.realign_noise else self.alignment

    @property
    def begins_at_mean(self) -> bool:
        """Whether sources are first aligned to the first one, and the star begins at their mean: not at random weights.

        Those have no rotation or scale to align anything to, and no loss to learn on.
        """
        return self.alignment.uses_kinds or (self.alignment.active and bool(self.alignment.match_method.realign))

    @property
    def alignment_title(self) -> str:
        """The alignment as people read it, and what later epochs do where that is something else.

        >>> StarSettings(alignment=Alignment("weight", restarts=10)).alignment_title
        'weight, 10 restarts, then 1 each epoch'
        >>> StarSettings(alignment=Alignment("sinkhorn", steps=50)).alignment_title
        'sinkhorn, 1 restart, 256 examples, 50 steps, then 5 steps each epoch'
        """
        how, every = self.alignment, self.realign_every
        if not how.active or every is None:
            return how.title
        each = f"each {'epoch' if every in (1, 'drawn') else f'{every} epochs'}"
        if every == "drawn":
            each += " for the sources that it draws"
        if self.realign_drift is not None:
            each += f" if the star moved by {self.realign_drift:.3g}"
        if self.realign_noise:
            each += f" to the star with noise {self.realign_noise:.3g}"
        if self.realignment != how:
            return f"{how.title}, then {self.realignment.title} {each}"
        plain = self.realign_drift is None and not self.realign_noise and every != "drawn"
        if plain and not how.learns and max(how.restarts, 1) == self.realign_restarts:
            return how.title
        count = how.later_steps
        restarts = how.restarts if self.realign_noise else self.realign_restarts
        again = number_of(count, "step") if how.learns else str(restarts)
        return f"{how.title}, then {again} {each}"

    @property
    def draw_t(self) -> Sampling:
        """The function that draws t from a generator."""
        return sampling_of(self.sampling)

    def own_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe of the star itself: of the epochs of `recipe` those that its companions leave.

        StarcliError where there are too few for so many companions.
        """
        if not self.companions:
            return recipe
        return recipe.lasting(shared_epochs(recipe.epochs, self.companions)[1])

    def draws(self, recipe: Recipe) -> int:
        """Points a step: as asked, else one for each rank, so that two ranks find what one process with two draws does.

        StarcliError for more than a batch of `recipe` has examples.
        """
        return 1 if self.sync_batchnorm else self.pieces(recipe)

    def pieces(self, recipe: Recipe) -> int:
        """Pieces of each batch: one a draw, or where BatchNorm is synchronised one a rank."""
        return pieces_per_step(None if self.sync_batchnorm else self.draws_per_step, recipe.batch_size)

    def _shared(self, recipe: Recipe) -> dict[str, int]:
        """What a file keeps of companions."""
        if not self.companions:
            return {}
        return {"companions": self.companions, "companion_epochs": shared_epochs(recipe.epochs, self.companions)[0]}

    def record(self, recipe: Recipe) -> dict[str, Any]:
        """The settings as the recipe of a star's file records them."""
        synced = self.sync_batchnorm and distributed.size() > 1
        return {
            "sampling": sampling_name(self.sampling),
            "realign_every": self.realign_every,
            **({"realign_restarts": self.realign_restarts} if self.realign_restarts != 1 else {}),  # as before it was
            **({"realign_method": self.realign_method} if self.realign_method else {}),
            **({"realign_drift": self.realign_drift} if self.realign_drift is not None else {}),
            **({"realign_noise": self.realign_noise} if self.realign_noise else {}),
            **{name: value for name, value in self.alignment.settings().items() if name != "seed"},
            "draws_per_step": self.draws(recipe),
            **({"noise": self.noise} if self.noise else {}),
            **({"pull": self.pull} if self.pull else {}),
            **self._shared(recipe),
            "mu": self.mu,
            "normalised": self.normalised,
            "eval_every": self.eval_every,
            **({"sync_batchnorm": True, "pieces": self.pieces(recipe)} if synced else {}),
        }
