"""Recipe: everything that decides how a network is trained, flat, as the flags of `train` are.

Recipes are YAML files, or flags, or both (a flag wins). This module imports no torch: `--help` and completion read it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler  # the oldest supported has it here alone

from starcli.errors import StarcliError, expected_and_found, suggestion
from starcli.files.yaml_values import YamlList, YamlMap, YamlValue, read_yaml
from starcli.recipes.shipped import recipe_path
from starcli.registry.entry import either, unread
from starcli.registry.optimizers import OPTIMIZERS
from starcli.registry.schedules import SCHEDULES

DEFAULT = "default"
"""Recipe of a run that names none."""

BALANCED_CLASSES = "balanced"
"""Class weights by which all classes count alike."""

LARGEST_FILE = 64 * 1024
"""Largest recipe file in bytes."""

SOURCE_FIELDS = ("arch", "arch_args", "data", "val_fraction")
"""Settings about network and data, which a checkpoint records apart from the recipe."""


class Recipe(BaseModel):
    """Settings of a training run; the defaults are those of `recipes/default.yaml`. StarcliError for wrong ones.

    >>> Recipe(epochs=3, optimizer="adam").rate
    0.001
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(default=25, ge=1, le=1_000_000, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=1, description="Examples a step.")
    optimizer: str = Field(default="sgd", description=f"{either(OPTIMIZERS)}.")
    lr: float | None = Field(default=None, ge=0, description="Learning rate (default: 0.1 for sgd, 0.001 otherwise).")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(default=False, description="Nesterov's momentum, for sgd.")
    weight_decay: float = Field(default=5e-4, ge=0, description="L2 penalty on all parameters; decoupled for adamw.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Decay of the two averages of adam and adamw.")
    schedule: str = Field(default="cosine", description=f"{either(SCHEDULES)}.")
    milestones: tuple[float, ...] = Field(default=(), description="Epochs at which the step schedule lowers the rate.")
    gamma: float = Field(default=0.1, gt=0, le=1, description="What the step schedule multiplies the rate by.")
    warmup: float = Field(default=0.0, ge=0, description="Epochs during which the rate rises linearly.")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the label spread over all classes.")
    class_weights: Literal["balanced"] | tuple[float, ...] | None = Field(
        default=None, description="balanced, or the weight of each class in the loss (default: all count alike)."
    )
    clip: float = Field(default=0.0, ge=0, description="Largest norm of the gradient; 0 leaves it alone.")
    compile: bool = Field(default=False, description="Steps through torch.compile.")
    augmentation: tuple[str, ...] | None = Field(
        default=None, description="Augmentations (default: the data set's own)."
    )

    arch: str | None = Field(default=None, description="Architecture that the recipe was made for.")
    arch_args: dict[str, bool | int | float | str] = Field(default={}, description="Its arguments.")
    data: str | None = Field(default=None, description="Data set that the recipe was made for.")
    val_fraction: float | None = Field(default=None, ge=0, lt=1, description="Share of the training data held back.")

    @field_validator("optimizer", "schedule")
    @classmethod
    def _known(cls, value: str, info: Any) -> str:
        """Refuse a name that the registry does not have."""
        table = OPTIMIZERS if info.field_name == "optimizer" else SCHEDULES
        if value not in table:
            raise ValueError(f"unknown {info.field_name} {value!r}{suggestion(value, table)}")
        return value

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        """Refuse betas outside [0, 1)."""
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("each has to be at least 0 and below 1")
        return value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _class_weights(cls, value: Any) -> Any:
        """Refuse weights that are not positive numbers; tensors and arrays are lists of numbers."""
        value = value.tolist() if hasattr(value, "tolist") else value
        if value in (None, BALANCED_CLASSES):
            return value
        numbers = isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)
        if not numbers or not value or not all(0 < each < math.inf for each in value):
            raise ValueError("expected balanced, or a positive number for each class")
        return value

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse milestones that are not positive and ascending."""
        if any(milestone <= 0 for milestone in value) or list(value) != sorted(set(value)):
            raise ValueError("have to be positive and ascending")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse settings that contradict each other."""
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs sgd with momentum above 0")
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup of {self.warmup:g} epochs leaves nothing of {self.epochs} epochs")
        if self.schedule == "step" and not self.milestones:
            raise ValueError("the step schedule needs milestones")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _refusal(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Refuse wrong settings with every one of them, under the name of their source; defined last, it sees all."""
        try:
            return handler(value)
        except ValidationError as error:
            source = (info.context or {}).get("source", "Recipe")
            raise StarcliError(f"{source}: not settings that training can have", _problems(error)) from error

    @property
    def rate(self) -> float:
        """Learning rate after warm-up."""
        return OPTIMIZERS[self.optimizer].rate if self.lr is None else self.lr

    def override(self, **flags: Any) -> Recipe:
        """This recipe with those of `flags` that are not None, checked as a file is.

        Raises StarcliError for a wrong value, and for a flag that the optimiser or the schedule would not read.

        >>> load_recipe().override(epochs=3, lr=None).epochs
        3
        """
        given = {key: value for key, value in flags.items() if value is not None}
        changed = _validated(self.model_dump(exclude_unset=True) | given, "the flags")
        without = dict.fromkeys(unread(OPTIMIZERS, changed.optimizer), changed.optimizer)
        without |= dict.fromkeys(unread(SCHEDULES, changed.schedule), f"the {changed.schedule} schedule")
        on = [key for key, value in given.items() if value is not False]
        if problems := [f"--{key}: {without[key]} has none" for key in on if key in without]:
            raise StarcliError("the flags: settings that would not be read", problems)
        return changed

    def lasting(self, epochs: int) -> Recipe:
        """This recipe in so many epochs: the rate rises and falls at the same shares of the run.

        >>> Recipe(epochs=100, warmup=10, schedule="step", milestones=(50,)).lasting(20).milestones
        (10.0,)
        """
        share = epochs / self.epochs
        places = tuple(each * share for each in self.milestones)
        return self.model_copy(update={"epochs": epochs, "warmup": self.warmup * share, "milestones": places})

    def summary(self, without: Collection[str] = ()) -> str:
        """The settings that matter most, in one line; `without` are left out.

        >>> Recipe(epochs=3, optimizer="adam").summary(without=["weight_decay"])
        'epochs 3, batch size 128, optimizer adam, lr 0.001, schedule cosine'
        """
        names = ("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule")
        values = self.settings()
        read = [name for name in names if name not in {*without, *unread(OPTIMIZERS, self.optimizer)}]
        return ", ".join(f"{name.replace('_', ' ')} {values[name]}" for name in read)

    def settings(self) -> dict[str, Any]:
        """Everything that decides a run, as JSON values, but network and data, which a checkpoint records elsewhere.

        Class weights are left out where there are none.
        """
        without = {*SOURCE_FIELDS, *(["class_weights"] if self.class_weights is None else [])}
        return self.model_dump(mode="json", exclude=without) | {"lr": self.rate}


def _validated(content: dict[str, Any], source: str) -> Recipe:
    """Recipe from plain values. Raises StarcliError with every wrong setting."""
    return Recipe.model_validate(content, context={"source": source})


def _problems(error: ValidationError) -> list[str]:
    """A line for each wrong setting."""
    problems = []
    for item in error.errors():
        path = ".".join(map(str, item["loc"]))
        message = expected_and_found(item) or item["msg"]
        if item["type"] == "value_error":  # one of ours, without what pydantic puts before it
            message = str(item["ctx"]["error"])
        if item["type"] == "extra_forbidden":
            message = f"unknown setting{suggestion(path, Recipe.model_fields)}"
        problems.append(f"{path}: {message}" if path else message)
    return problems


def load_recipe(name: str | Path = DEFAULT) -> Recipe:
    """Load a recipe by shipped name (`paper/resnet18-cifar10`) or from a file (`my.yaml`).

    Raises StarcliError for an unknown name, a file that cannot be read, and wrong settings.

    >>> recipe = load_recipe("paper/resnet18-cifar10")
    >>> recipe.arch, recipe.data, recipe.optimizer
    ('resnet18-cifar', 'cifar10', 'sgd')
    """
    return _validated(_mapping(recipe_path(str(name))), str(name))


def _mapping(path: Path) -> dict[str, Any]:
    """Top-level map of a YAML file as plain values."""
    try:
        with path.open("rb") as handle:
            text = handle.read(LARGEST_FILE + 1).decode("utf-8")
    except OSError as error:
        raise StarcliError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise StarcliError(f"{path}: is not text in UTF-8, and a recipe is YAML") from error
    if len(text) > LARGEST_FILE:
        raise StarcliError(f"{path}: larger than {LARGEST_FILE // 1024} KiB, which no recipe is")
    value = read_yaml(text, str(path))
    if not isinstance(value, YamlMap):
        raise StarcliError(f"{path}: a recipe is a map, one `setting: value` a line")
    return {key.text: _plain(item) for key, item in value.items}


def _plain(value: YamlValue) -> Any:
    """Value that a word spells: a number (5e-4 too, which YAML takes for a word), true, false, null, else text."""
    if isinstance(value, YamlMap):
        return {key.text: _plain(item) for key, item in value.items}
    if isinstance(value, YamlList):
        return [_plain(item) for item in value.items]
    for kind in (int, float):
        try:
            return kind(value.text)
        except ValueError:
            pass
    return {"true": True, "false": False, "null": None, "": None}.get(value.text, value.text)
