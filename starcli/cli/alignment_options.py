"""The options of how models are aligned: the same for every command that aligns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options import ALIGNMENT, AlignOpt, MethodOpt, RestartsOpt, choice_of
from starcli.registry.alignment_methods import GAINS

if TYPE_CHECKING:
    from starcli.alignment.align import Alignment


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
            help="Of activation: training examples to compare on, or noise in their place (default 256).",
        ),
    ] = None  # fmt: skip
    align_share: Annotated[
        float | None,
        typer.Option(
            "--align-share", max=1, metavar="S", rich_help_panel=ALIGNMENT,
            help="Of activation: its share beside the weights; 1 is activations alone (default 0.5).",
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

    def chosen(self, seed: int = 0) -> "Alignment":
        """The alignment that the command line asks for. StarcliError where its words contradict each other."""
        from starcli.alignment.align import Alignment

        said = self.align_examples
        examples = int(said) if said is not None and said.isdecimal() else said
        return Alignment(self.align, self.restarts, seed, examples, self.align_share, self.align_gains)


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignedOptions(AlignOptions):
    """How models are aligned: by weight unless the command line says otherwise."""

    align: AlignOpt = "weight"


@bundle
@dataclass(frozen=True, kw_only=True)
class MethodOptions(AlignOptions):
    """How models are aligned, where that is what the command does: --method, not --align."""

    align: MethodOpt = "weight"
