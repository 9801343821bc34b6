"""The options of how models are aligned: the same for every command that aligns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options import AlignOpt, MethodOpt, RestartsOpt, one_of, words_of

if TYPE_CHECKING:
    from starcli.alignment.align import Alignment

_GAINS = ("least-squares", "correlation")


@bundle
@dataclass(frozen=True, kw_only=True)
class _MatchingOptions:
    """What every alignment has besides its method."""

    restarts: RestartsOpt = 1
    align_examples: Annotated[
        str | None,
        typer.Option(
            "--align-examples", metavar="N|noise",
            help="Of activation: training examples to compare on (default 256), or noise in their place.",
        ),
    ] = None  # fmt: skip
    align_share: Annotated[
        float | None,
        typer.Option(
            "--align-share", max=1, metavar="S",
            help="Of activation: its share beside the weights (default 0.75; 1 is activations alone).",
        ),
    ] = None  # fmt: skip
    align_gains: Annotated[
        str | None,
        typer.Option(
            "--align-gains", help="Of activation: least-squares, or correlation.",
            autocompletion=words_of(*_GAINS), callback=one_of("way", *_GAINS),
        ),
    ] = None  # fmt: skip

    def _alignment(self, method: str | None, seed: int) -> "Alignment":
        from starcli.alignment.align import Alignment

        said = self.align_examples
        examples = int(said) if said is not None and said.isdecimal() else said
        return Alignment(method, self.restarts, seed, examples, self.align_share, self.align_gains)


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignOptions(_MatchingOptions):
    """Whether models are aligned first, and how."""

    align: AlignOpt = None

    def chosen(self, seed: int = 0) -> "Alignment":
        """The alignment that the command line asks for. StarcliError where its words contradict each other."""
        return self._alignment(self.align, seed)


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignedOptions(AlignOptions):
    """The same, by default by weight."""

    align: AlignOpt = "weight"


@bundle
@dataclass(frozen=True, kw_only=True)
class MethodOptions(_MatchingOptions):
    """How models are aligned, where that is what the command does."""

    method: MethodOpt = "weight"

    def chosen(self, seed: int = 0) -> "Alignment":
        """The alignment that the command line asks for. StarcliError where its words contradict each other."""
        return self._alignment(self.method, seed)
