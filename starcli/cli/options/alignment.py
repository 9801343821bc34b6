"""The options of how models are aligned: the same for every command that aligns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import bundle, said_in
from starcli.cli.options.shared import ALIGNMENT, AlignOpt, MethodOpt, RestartsOpt, choice_of
from starcli.errors import StarcliError, option_of
from starcli.registry.alignment_methods import ALIGNED_KINDS, DEFAULT_METHOD, GAINS, SELECTIONS

if TYPE_CHECKING:
    from starcli.alignment.alignment import Alignment
    from starcli.barriers.bends import Bends
    from starcli.checkpoints.checkpoint import Checkpoint


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Whether models are aligned first, and how."""

    align: AlignOpt = None
    restarts: RestartsOpt = 1
    align_examples: Annotated[
        str | None,
        typer.Option(
            "--align-examples", metavar="N|noise", rich_help_panel=ALIGNMENT,
            help="Of activation, and where learning begins: examples to compare on, or noise (default 256).",
        ),
    ] = None  # fmt: skip
    align_share: Annotated[
        float | None,
        typer.Option(
            "--align-share", metavar="S", rich_help_panel=ALIGNMENT,
            help="Of activation: its share beside the weights, above 0; 1 is activations alone (default 0.5).",
        ),
    ] = None  # fmt: skip
    align_gains: Annotated[
        str | None,
        typer.Option(
            "--align-gains", rich_help_panel=ALIGNMENT,
            help="Of activation: least-squares, or correlation (default least-squares).",
            **choice_of("way", *GAINS),
        ),
    ] = None  # fmt: skip
    align_steps: Annotated[
        int | None,
        typer.Option(
            "--align-steps", metavar="N", rich_help_panel=ALIGNMENT,
            help="Of what learns: steps, each on 256 labelled training examples (default 200; of learn 1000).",
        ),
    ] = None  # fmt: skip
    align_lr: Annotated[
        float | None,
        typer.Option(
            "--align-lr", metavar="R", rich_help_panel=ALIGNMENT,
            help="Of learn: learning rate of rotations, matrices and scales (default 0.02).",
        ),
    ] = None  # fmt: skip
    align_kinds: Annotated[
        str | None,
        typer.Option(
            "--align-kinds", rich_help_panel=ALIGNMENT,
            help="permutation (default of weight), or all (of learn) symmetries: signs, scales, rotations, matrices.",
            **choice_of("kind", *ALIGNED_KINDS),
        ),
    ] = None  # fmt: skip

    @property
    def usual(self) -> str | None:
        """The method where the command line names none."""
        return None

    def chosen(self, seed: int = 0) -> "Alignment":
        """The alignment that the command line asks for. StarcliError where its words contradict each other."""
        from starcli.alignment.alignment import Alignment

        return Alignment(self.align or self.usual, **self.alignment_settings(seed))

    def alignment_settings(self, seed: int = 0) -> dict[str, Any]:
        """Keywords of `Alignment` besides the method, as the command line says them."""
        said = self.align_examples
        return {
            "restarts": self.restarts,
            "seed": seed,
            "examples": int(said) if said is not None and said.isdecimal() else said,
            "share": self.align_share,
            "gains": self.align_gains,
            "steps": self.align_steps,
            "kinds": self.align_kinds,
            "lr": self.align_lr,
        }


@bundle
@dataclass(frozen=True, kw_only=True)
class SearchedOptions(AlignOptions):
    """How models are aligned in a search, every epoch anew: by activation unless the command line says otherwise."""

    align: AlignOpt = DEFAULT_METHOD


@bundle
@dataclass(frozen=True, kw_only=True)
class SelectOptions(AlignOptions):
    """Whether models are aligned first, how, and which of several ends is taken."""

    select: Annotated[
        str | None,
        typer.Option(
            "--select", rich_help_panel=ALIGNMENT,
            help="midpoint: of --ends searches take the one of lowest training loss half way (objective: one search).",
            **choice_of("selection", *SELECTIONS),
        ),
    ] = None  # fmt: skip
    ends: Annotated[
        int | None,
        typer.Option(
            "--ends", metavar="K", rich_help_panel=ALIGNMENT,
            help="Of --select midpoint: searches, each with another seed and other examples (default 10).",
        ),
    ] = None  # fmt: skip

    def alignment_settings(self, seed: int = 0) -> dict[str, Any]:
        """Keywords of `Alignment` besides the method, those of the choice among ends too."""
        return {**super().alignment_settings(seed), "select": self.select, "ends": self.ends}

    def along(self, bends: "Bends", ends: "Sequence[Checkpoint]", seed: int) -> "Alignment":
        """As the command line asks, or where it does not and there is a curve, as its end was aligned in training.

        seed: of the alignment alone. StarcliError for it, and for other settings of an alignment, where none is asked
        for.
        """
        if seed and self.align in (None, "none"):
            raise StarcliError(f"--seed {seed}: nothing is drawn, for no --align is asked for")
        if self.align is not None or not bends.models:
            return self.chosen(seed)
        if said := said_in(self):
            options = ", ".join(map(option_of, said))
            hints = ["without --align the end of a curve is aligned as when the curve was trained"]
            raise StarcliError(f"no --align is asked for, only how it would be done: {options}", hints)
        return bends.alignment_of(ends[0], ends[-1])


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignedOptions(SelectOptions):
    """How models are aligned: by activation unless the command line says otherwise."""

    align: AlignOpt = DEFAULT_METHOD


@bundle
@dataclass(frozen=True, kw_only=True)
class MethodOptions(SelectOptions):
    """How models are aligned, where that is what the command does: --method, not --align."""

    align: MethodOpt = None
    usual = "weight"
