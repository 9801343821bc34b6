"""Options of where training begins in place of random weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.setup import Setup
from starcli.cli.options.shared import IN
from starcli.cli.read_models import read_groups
from starcli.errors import StarcliError

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.recipes.recipe import Recipe
    from starcli.training.beginning import Beginning
    from starcli.workspace.workspace import Workspace


@bundle
@dataclass(frozen=True)
class BeginningOptions:
    """The model that training begins at, what of it is drawn anew, and what of the recipe is behind it."""

    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Begin at this model instead of random weights; network, data and settings are its own unless said.",
        ),
        IN,
    ] = None
    reinit: Annotated[
        list[str] | None,
        typer.Option(
            "--reinit", metavar="NAME...", help="Of --init: tensors that are random all the same, such as 'fc.*'."
        ),
    ] = None
    start_epoch: Annotated[
        int,
        typer.Option(
            "--start-epoch", metavar="N", min=0, help="Of --init: epochs behind it; the schedule goes on after these."
        ),
    ] = 0

    def __post_init__(self) -> None:
        """Refuse what is read of --init alone."""
        for said, option in ((self.reinit, "--reinit"), (self.start_epoch, "--start-epoch")):
            if said and self.init is None:
                raise StarcliError(f"{option} goes with --init, the model that training begins at")

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [] if self.init is None else [self.init]

    @cached_property
    def model(self) -> "Checkpoint | None":
        """The model as it was read."""
        return None if self.init is None else read_groups([self.init])[0][0]

    def recipe(self, named: str | None) -> "Recipe | None":
        """The recipe that is named, else that of the model; None where neither says one."""
        from starcli.recipes.recipe import load_recipe
        from starcli.workspace.plan import inherited_recipe

        if named is not None:
            return load_recipe(named)
        return None if self.model is None else inherited_recipe([self.model])

    def opened(self, setup: Setup, recipe: "Recipe") -> "tuple[Workspace, Beginning | None]":
        """The workspace of what is trained by `recipe`, and where it begins (None: at random weights)."""
        from starcli.training.beginning import Beginning
        from starcli.workspace.trained_on import workspace_trained_on
        from starcli.workspace.workspace import new_workspace

        if self.model is None:
            return new_workspace(setup.behind(recipe)), None
        workspace, model, drawn = workspace_trained_on(self.model, setup, reinit=self.reinit or ())
        return workspace, Beginning(model, drawn, self.start_epoch)
