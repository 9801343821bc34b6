"""The options of how activations at points between models are renormalised: the same for every command with points."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.shared import choice_of
from starcli.evaluation.renormalise import RENORMALISATIONS, Renormalise

if TYPE_CHECKING:
    from starcli.runtime.progress import Progress
    from starcli.workspace.workspace import Workspace

BETWEEN = "Points between models"
"""Heading of the help page for these options."""


@bundle
@dataclass(frozen=True, kw_only=True)
class RenormaliseOptions:
    """How the activations at points between models are renormalised."""

    renormalise: Annotated[
        str,
        typer.Option(
            "--renormalise", rich_help_panel=BETWEEN,
            help="recalibrate: BatchNorm statistics anew. repair: also mean and deviation of units without BatchNorm.",
            **choice_of("way", *RENORMALISATIONS),
        ),
    ] = "recalibrate"  # fmt: skip
    renormalise_logits: Annotated[
        bool,
        typer.Option(
            "--renormalise-logits", help="Also mean and deviation of each class's logits.", rich_help_panel=BETWEEN
        ),
    ] = False

    def between(self) -> Renormalise:
        """The renormalisation that the command line asks for."""
        return Renormalise(self.renormalise, self.renormalise_logits)

    def note_repaired(self, workspace: "Workspace", watch: "Progress") -> None:
        """Note which layers are repaired. Raises StarcliError, before any work, where the logits cannot be."""
        from starcli.evaluation.repairable_layers import note_repaired

        note_repaired(workspace, self.between(), watch)
