"""Names of the columns of tables in memory, by which values are known: of other columns they would be other ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from starcli.data.memory_arrays import is_array
from starcli.errors import StarcliError, few
from starcli.registry.tasks import OF_COLUMNS


def names_of_columns(value: Any) -> tuple[str, ...]:
    """Names of the columns of a table of pandas, in order; none of anything else, and where not all are text."""
    names = tuple(value.columns) if is_array(value) and hasattr(value, "columns") else ()
    return names if all(isinstance(name, str) for name in names) else ()


def features_of(by_role: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the columns that the inputs of training are made of, where they are a table."""
    return _columns(by_role["train"])[0]


def targets_of(by_role: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """Names of the columns that are predicted, where the labels of training are a table."""
    return _columns(by_role["train"])[1] if task in OF_COLUMNS else ()


def refuse_other_columns(what: str, found: Sequence[str], expected: Sequence[str], of: str) -> None:
    """Raise StarcliError where the columns of `what` are not those `of` another, in the same order.

    Where one of them has no names nothing is known, and nothing refused.
    """
    if found and expected and [*found] != [*expected]:
        raise StarcliError(
            f"{what}: its columns are not those of {of}, in the same order",
            [f"{few(found, 10)} here, {few(expected, 10)} there", "table[[...]] takes columns by name, in any order"],
        )


def refuse_unlike_tables(by_role: Mapping[str, Any]) -> None:
    """Raise StarcliError for (inputs, labels) by role whose columns are not those of "train"."""
    expected = _columns(by_role["train"])
    for role, examples in by_role.items():
        for what, found, known in zip(("inputs", "labels"), _columns(examples), expected, strict=True):
            refuse_other_columns(f"data in memory, {role}, {what}", found, known, "train")


def _columns(examples: Any) -> list[tuple[str, ...]]:
    """Names of the columns of inputs and of labels."""
    return (
        [names_of_columns(each) for each in examples]
        if isinstance(examples, tuple) and len(examples) == 2
        else [(), ()]
    )
