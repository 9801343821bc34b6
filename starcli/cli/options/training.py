"""The settings of training as options."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle
from starcli.cli.options import checks
from starcli.cli.options.shared import TRAINING, names_of, words_of
from starcli.cli.options.values import class_weights
from starcli.registry.entry import either
from starcli.registry.optimizers import OPTIMIZERS
from starcli.registry.schedules import SCHEDULES

if TYPE_CHECKING:
    from starcli.recipes.recipe import Recipe
    from starcli.runtime.progress import Progress
    from starcli.workspace.workspace import Workspace


@bundle
@dataclasses.dataclass
class Training:
    """The settings of a recipe as flags; None leaves them to the recipe."""

    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.", rich_help_panel=TRAINING)] = None
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples a step.", rich_help_panel=TRAINING)] = None
    optimizer: Annotated[
        str | None,
        typer.Option(help=f"{either(OPTIMIZERS)}.", rich_help_panel=TRAINING, autocompletion=names_of(OPTIMIZERS)),
        Checked(checks.entry_of(OPTIMIZERS, "optimizer")),
    ] = None
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=TRAINING)] = None
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd.", rich_help_panel=TRAINING)] = None
    nesterov: Annotated[
        bool | None, typer.Option("--nesterov/--no-nesterov", help="Nesterov's momentum.", rich_help_panel=TRAINING)
    ] = None
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty.", rich_help_panel=TRAINING)] = None
    betas: Annotated[
        list[float] | None, typer.Option(metavar="B1 B2", help="Decays of adam's averages.", rich_help_panel=TRAINING)
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(help=f"{either(SCHEDULES)}.", rich_help_panel=TRAINING, autocompletion=names_of(SCHEDULES)),
        Checked(checks.entry_of(SCHEDULES, "schedule")),
    ] = None
    milestones: Annotated[
        list[float] | None,
        typer.Option(metavar="EPOCH...", help="Where the step schedule falls.", rich_help_panel=TRAINING),
    ] = None
    gamma: Annotated[float | None, typer.Option(help="By what it falls.", rich_help_panel=TRAINING)] = None
    warmup: Annotated[float | None, typer.Option(help="Epochs of rising rate.", rich_help_panel=TRAINING)] = None
    label_smoothing: Annotated[float | None, typer.Option(help="Share of smoothing.", rich_help_panel=TRAINING)] = None
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="W0,W1,...",
            help="Weight of each class in the loss: balanced, numbers, or a file of numbers.",
            rich_help_panel=TRAINING,
            autocompletion=words_of("balanced"),
        ),
    ] = None
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm.", rich_help_panel=TRAINING)] = None
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Compile the step; a note says if it pays.", rich_help_panel=TRAINING
        ),
    ] = None
    augmentation: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="pad-crop, flip, or none.", rich_help_panel=TRAINING),
    ] = None

    @property
    def said(self) -> list[str]:
        """The names of the settings that flags say."""
        return [name for name, value in vars(self).items() if value is not None]

    def over(self, recipe: "Recipe") -> "Recipe":
        """`recipe` with these flags put in."""
        flags = dataclasses.asdict(self)
        if self.augmentation == ["none"]:
            flags["augmentation"] = ()
        if self.class_weights is not None:
            flags["class_weights"] = class_weights(self.class_weights)
        return recipe.override(**flags)


def recipe_by_flags(base: "Recipe | None", training: Training, workspace: "Workspace", watch: "Progress") -> "Recipe":
    """`base`, that of the models, with the flags put in. Where models say none it is the default one, with a note."""
    from starcli.recipes.recipe import DEFAULT, load_recipe
    from starcli.training.class_weights import note_class_weights
    from starcli.workspace.training_notes import default_recipe_notes

    chosen = training.over(base or load_recipe(DEFAULT))
    if base is None:
        for note in default_recipe_notes(chosen, training.said, workspace.dataset):
            watch.note(note)
    note_class_weights(chosen, workspace.dataset, watch)
    return chosen
