"""Training from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from torch import nn

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.dataset import Dataset
from starcli.errors import StarcliError, few, type_in_words
from starcli.evaluation.result_table import frame_of
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, Numbers, open_network
from starcli.library.made_models import MadeModel, made
from starcli.library.plans import spec_record, training_plan
from starcli.library.where import DataLike, NetworkLike, Surroundings, Where, split_keywords
from starcli.recipes.recipe import Recipe, load_recipe
from starcli.runtime.progress import Progress
from starcli.training.class_weights import note_class_weights
from starcli.training.train import Trained, kept_epochs, train_network
from starcli.workspace.plan import inherited_recipe
from starcli.workspace.training_notes import default_recipe_notes

if TYPE_CHECKING:
    from pandas import DataFrame


class RecipeSettings(TypedDict, total=False):
    """Settings of training, as the flags of `starcli train`; what is left out the recipe says."""

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    betas: tuple[float, float]
    schedule: str
    milestones: Sequence[float]
    gamma: float
    warmup: float
    label_smoothing: float
    class_weights: str | Numbers
    clip: float
    compile: bool
    augmentation: Sequence[str]


class TrainOptions(Surroundings, RecipeSettings, total=False):
    """Keywords of `train`."""


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel(MadeModel):
    """A model that was trained, and the log of its training: a row for each epoch."""

    history: Sequence[Mapping[str, Any]] = ()
    kept: Mapping[int, MadeModel] = field(default_factory=dict)
    """The model on its way, by the number of epochs that it was trained by then."""

    def to_dict(self) -> dict[str, Any]:
        """Final loss (nats) and accuracy by split, and the seed."""
        return {"model": self.name, "seed": self.metadata.seed, **(self.metadata.metrics or {})}

    def to_frame(self) -> "DataFrame":
        """A pandas table with a line for each epoch."""
        return frame_of(self.history)


@library_call
def train(
    network: NetworkLike | None = None,
    data: DataLike | None = None,
    *,
    recipe: Recipe | str | Path | None = None,
    seed: int = 0,
    init: ModelLike | None = None,
    reinit: Sequence[str] = (),
    start_epoch: int = 0,
    keep: Sequence[int] = (),
    **options: Unpack[TrainOptions],
) -> TrainedModel:
    """Train a network from random weights drawn from `seed`, or from those of the model `init`.

    network: a name as `--arch` takes it, a function that builds a network, or a module, whose weights are drawn anew.
    data: a name as `--data` takes it, `(inputs, labels)`, a torch data set or loader, or `{"train": ..., "test": ...}`.
    recipe: a shipped name, a YAML file or a `Recipe`; settings of training (`epochs=3, lr=0.1`) win over it.
    init: a model to begin at. Network, data and recipe are its own unless they are said; other data have outputs for
        their own classes, for which the tensors of the head are named in `reinit`. A model of Hugging Face that has no
        head for classes gets one, a language model where `task="classes"` is said.
    reinit: patterns of names of tensors of `init` that are drawn from `seed` all the same, such as `["fc.*"]`.
    start_epoch: epochs of the recipe that `init` has behind it: the schedule goes on after these.
    keep: numbers of epochs after which the model is kept, too; the result has these models as `kept`.
    options: fields of `Recipe`, and `device`, `arch_args` and others, see `Where`.

    The result is, to the byte, the checkpoint that `starcli train` writes. StarcliError for settings that do not fit,
    and where the loss stops being finite.

    >>> import starcli as sc
    >>> model = sc.train("mlp", "digits", epochs=1, limit=60, seed=3)
    >>> sorted(model.to_dict()["test"]), len(model.history)
    (['accuracy', 'loss'], 1)
    >>> branch = sc.train(init=model, epochs=2, start_epoch=1, seed=4)
    >>> [row["epoch"] for row in branch.history]
    [2]
    """
    where, settings = split_options(options)
    if init is None and (reinit or start_epoch):
        raise StarcliError("reinit and start_epoch go with init, the model that training begins at")
    chosen = understood_recipe(recipe).override(**settings)  # what is wrong is said before data are opened
    workspace, beginning, watcher = open_network(
        network, data, where, init=init, reinit=reinit, start_epoch=start_epoch
    )
    if beginning is not None:
        chosen = inherited(recipe, [beginning.model], settings, watcher)
    elif isinstance(network, nn.Module):
        _note_frozen(network, watcher)
    note_class_weights(chosen, workspace.dataset, watcher)
    epochs = kept_epochs(keep, chosen, start_epoch)
    if beginning is not None:
        beginning.check(chosen, watcher)
    plan = training_plan(workspace, chosen, seed, spec_record(workspace, watcher), beginning)
    network_name = workspace.architecture.name if workspace.builder is None else type(workspace.outline()).__name__
    name = f"{network_name}-{seed}"
    kept: dict[int, MadeModel] = {}

    def keep_model(epoch: int, found: Trained) -> None:
        then, called = plan.after_epoch(epoch), f"{name}-epoch{epoch}"
        kept[epoch] = made(MadeModel, workspace, then, found.tensors, called, metrics=found.metrics)

    keeping = {epoch: partial(keep_model, epoch) for epoch in epochs}
    found = train_network(workspace, chosen, seed, beginning=beginning, keep=keeping, progress=watcher)
    return made(
        TrainedModel, workspace, plan, found.tensors, name, metrics=found.metrics, history=found.history, kept=kept
    )


def _note_frozen(network: nn.Module, watcher: Progress) -> None:
    """Say which parameters neither learn nor keep the values that the caller's module has."""
    if frozen := [name for name, parameter in network.named_parameters() if not parameter.requires_grad]:
        watcher.note(f"{few(frozen, 3)}: no gradient, and drawn from the seed; init=network keeps the weights it has")


def understood_recipe(recipe: Recipe | str | Path | None) -> Recipe:
    """A recipe by name, file or value; None is the default."""
    if recipe is None or isinstance(recipe, Recipe):
        return recipe or load_recipe()
    if not isinstance(recipe, str | Path):
        raise StarcliError(f"recipe: {type_in_words(recipe)}, expected a name, a YAML file or a Recipe")
    return load_recipe(recipe)


def inherited(
    recipe: Recipe | str | Path | None,
    models: Sequence[Checkpoint],
    changed: RecipeSettings,
    watcher: Progress,
    dataset: Dataset | None = None,
) -> Recipe:
    """The recipe that is named, or that of the models, with the settings that are said.

    Where models say none it is the default one, with a note, and one on targets of `dataset` that it is not for.
    """
    base = inherited_recipe(models) if recipe is None else None
    chosen = (base or understood_recipe(recipe)).override(**changed)
    if recipe is None and base is None:
        for note in default_recipe_notes(chosen, [*changed], dataset):
            watcher.note(note)
    return chosen


def split_options(options: Mapping[str, Any]) -> tuple[Where, RecipeSettings]:
    """Keywords of network, data and device, and settings of training."""
    settings, where = split_keywords(options, RecipeSettings)
    return cast(Where, where), cast(RecipeSettings, settings)
