"""Notes on data before training on them: unusual targets, classes without examples, repeated examples."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from starcli.data.dataset import Dataset
from starcli.data.names import IN_MEMORY
from starcli.data.repeats import repeats_notes
from starcli.errors import few
from starcli.registry.tasks import CLASSES, REGRESSION
from starcli.workspace.data_notes import scaling_notes

if TYPE_CHECKING:
    from starcli.recipes.recipe import Recipe

USUAL_TARGETS = (0.1, 5.0)
"""Deviations of targets at which the usual rates train.

The mlp by the default recipe (500 examples, 20 epochs) has R2 of 0.8 to 0.9 from 0.1 to 3, below 0 at 0.01, and
diverges at 10.
"""


def target_notes(dataset: Dataset) -> tuple[str, ...]:
    """A note for those who train, where the numbers to be predicted are far from a usual size."""
    if dataset.task != REGRESSION:
        return ()
    spread = dataset.train.targets.double().std(0, correction=0)  # (columns,)
    least, most = float(spread.min()), float(spread.max())
    if USUAL_TARGETS[0] <= least and most <= USUAL_TARGETS[1]:
        return ()
    found = f"{most:.3g}" if least == most else f"{least:.3g} to {most:.3g} by column"
    how = "{:g} to {:g} suits the usual rates: divide them by it, or change --lr".format(*USUAL_TARGETS)
    return (f"{dataset.name}: targets have a standard deviation of {found}, and are taken as they are; {how}",)


def default_recipe_notes(recipe: "Recipe", said: Collection[str], dataset: Dataset | None) -> tuple[str, ...]:
    """Notes on models made from others by the default recipe, but for the settings that are `said`.

    Also on targets of `dataset` that it is not for, unless these are None.
    """
    settings = recipe.summary(without=said)
    note = f"the models do not say how they were trained: the default recipe is used: {settings}"
    return (note, *(target_notes(dataset) if dataset is not None else ()))


def class_notes(dataset: Dataset) -> tuple[str, ...]:
    """A note for those who train, on named classes of which no example is trained on, but perhaps measured.

    Of classes without names it is said where labels are read.
    """
    if dataset.task != CLASSES or not dataset.class_names:
        return ()
    present = {*dataset.train.labels.tolist()}
    absent = {label: name for label, name in enumerate(dataset.class_names) if label not in present}
    if not absent:
        return ()
    measured = []
    for part in dataset.measured:
        labels = dataset.split(part).labels.tolist()
        if count := sum(label in absent for label in labels):
            measured.append(f"{count} of {len(labels)} {part} examples are of these")
    numbers = dataset.name == "table" and all(name.isdecimal() for name in dataset.class_names)
    hint = ["--task regression predicts numbers as such"] if numbers else []
    what = f"{len(absent)} of {len(dataset.class_names)} classes have no training example: {few([*absent.values()], 5)}"
    return ("; ".join([f"{dataset.name}: {what}", *measured, *hint]),)


def spelling_notes(dataset: Dataset) -> tuple[str, ...]:
    """A note for those who train, on names of classes that look like one name spelled in two ways."""
    spelled: dict[str, list[str]] = {}
    for name in dataset.class_names or ():
        spelled.setdefault(" ".join(name.split()).casefold(), []).append(repr(name))
    alike = [" and ".join(names) for names in spelled.values() if len(names) > 1]
    return (f"{dataset.name}: classes that differ in spaces or case alone: {few(alike, 3)}",) if alike else ()


def test_notes(dataset: Dataset) -> tuple[str, ...]:
    """A note for those who train, where data in memory have no test part: figures of that name are of training then."""
    if dataset.name != IN_MEMORY or dataset.train is not dataset.test:
        return ()
    how = 'data={"train": ..., "test": ...} gives one'
    return (f"data {IN_MEMORY}: no test part: test figures are those of the training examples; {how}",)


def training_notes(dataset: Dataset) -> tuple[str, ...]:
    """Notes for those who train on data: on inputs, on targets, on examples that are measured on as well."""
    notes = (*scaling_notes(dataset), *target_notes(dataset), *class_notes(dataset), *spelling_notes(dataset))
    return (*notes, *test_notes(dataset), *repeats_notes(dataset, *dataset.measured))
