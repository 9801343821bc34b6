"""The architecture that the command line names, or that checkpoints record."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Architecture, DataRecord
from starcli.data.names import IMAGES_OF_ANY_SIZE, data_in_words, needs_path
from starcli.errors import StarcliError
from starcli.huggingface.directory import why_unknown
from starcli.models.build import complete_arguments
from starcli.models.inputs import complete_for_input, default_input_dtype, default_input_shape, parse_input_shape
from starcli.models.names import imports_code, is_huggingface, recorded_name, spellings
from starcli.workspace.agreement import unsaid_words
from starcli.workspace.choices import Choices


def agreed_architecture(first: Checkpoint, choices: Choices, record: DataRecord | None, *, data: bool) -> Architecture:
    """The architecture that the command line names, or the one that the checkpoints record."""
    recorded = first.metadata.architecture
    if choices.arch is None:
        if recorded is None:
            needed = "--arch and --data" if data and record is None else "--arch"
            raise StarcliError(
                f"{first.name}: does not say what network it is; give {needed}",
                [] if first.path is None else why_unknown(first.path),
            )
        if choices.input or choices.input_dtype:
            raise StarcliError(f"{first.name} says what an input is: --input goes with --arch, to say otherwise")
        if choices.arch_args:
            raise StarcliError(f"{first.name} says what network it is: --arch-arg goes with --arch, to say otherwise")
        return recorded
    # the same name again, as networks outside the registry need it, keeps what is recorded
    kept = recorded if recorded is not None and recorded.name == choices.arch_name else None
    if record is not None:
        return chosen_architecture(choices.arch, choices, record, kept.arguments if kept else {})
    given = {**(kept.arguments if kept else {}), **choices.arch_args}
    if choices.input is not None:
        shape = parse_input_shape(choices.input)
    else:
        shape = tuple(kept.input_shape) if kept else default_input_shape(choices.arch, given)
    fields = {
        "name": choices.arch_name,
        "arguments": complete_for_input(choices.arch, given, shape, trusted=True),
        "input_shape": list(shape),
        "input_dtype": choices.input_dtype or (kept.input_dtype if kept else default_input_dtype(choices.arch, given)),
    }
    return Architecture.model_validate(fields)


def chosen_architecture(
    name: str, choices: Choices, data: DataRecord, recorded: Mapping[str, Any] = MappingProxyType({})
) -> Architecture:
    """The architecture that the command line names, which alone may name one outside the registry.

    Arguments that it does not give are as `recorded`, then as the data and the defaults have them.
    """
    given = {**recorded, **choices.arch_args}
    shape = tuple(data.input_shape)
    if is_huggingface(name):  # a config says what an input is, whatever the data
        shape = default_input_shape(name, given)
        _refuse_other_dtype(name, default_input_dtype(name, given), data)
    arguments = complete_arguments(
        name,
        given,
        input_shape=tuple(data.input_shape),
        num_classes=data.num_classes,
        vocab_size=data.vocab_size,
        task=data.task_name,
        trusted=True,
    )
    return Architecture(
        name=recorded_name(name), arguments=arguments, input_shape=list(shape), input_dtype=data.input_dtype
    )


def refuse_other_inputs(architecture: Architecture, record: DataRecord | None, choices: Choices) -> None:
    """Raise StarcliError where a network is told, or takes, another input than the data have."""
    if record is None:
        return
    if choices.input or choices.input_dtype:
        hint = ["--image-size says to what size images are resized"] if record.name in IMAGES_OF_ANY_SIZE else []
        raise StarcliError(f"--input is for networks without data; an input is as {record.name} data have it", hint)
    _refuse_other_dtype(architecture.name, architecture.input_dtype, record)


def _refuse_other_dtype(name: str, dtype: str, record: DataRecord) -> None:
    """Raise StarcliError where a network takes tokens and data have none, or the other way round."""
    if dtype != record.input_dtype:
        takes, has = ("tokens", "none") if dtype == "int64" else ("no tokens", "nothing else")
        raise StarcliError(f"the network {name} takes {takes}, and {record.name} has {has}")


def require_flags(
    architecture: Architecture | None, record: DataRecord | None, choices: Choices, *, data: bool
) -> None:
    """Say at once all that a checkpoint must not or cannot tell: code to import, and where data lie."""
    problems = []
    if data and choices.data is None and record is not None and needs_path(record.name):
        problems.append(f"--data, for it was trained on {data_in_words(record.name)}, and no file keeps a path")
    if architecture is not None and choices.arch_name in (None, architecture.name):
        if choices.arch is None and imports_code(architecture.name):
            said = spellings(architecture.name)
            problems.append(f"--arch {said}, for code is imported only where the command line names it")
        problems += unsaid_words(architecture, choices.arch_args)
    if problems:
        raise StarcliError("what the checkpoint does not settle is needed again", problems)
