"""Inputs of networks that come without data: the shape and type of one input."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.huggingface.tasks import input_of_class, task_of
from starcli.models.arguments import check_arguments, height_and_width
from starcli.models.build import builder_of, complete_arguments
from starcli.models.names import is_external, is_huggingface
from starcli.registry.tasks import CLASSES, NEXT_TOKEN

IMAGE_SHAPE = (3, 224, 224)
"""Input of an architecture from a library of image classifiers, where nothing else is said."""

TEXT_LENGTH = 64
"""Tokens in an input of an architecture that takes any number, where nothing else is said."""

EXAMPLE_BATCH = 2
"""Examples in an example input: tracing must not take the batch for an axis of size 1."""


class InputNeeded(StarcliError):
    """Nothing says what goes into a network."""


def parse_input_shape(words: str) -> tuple[int, ...]:
    """Shape of one input from `--input 1,3,224,224`, which includes a batch.

    >>> parse_input_shape("1,3,224,224")
    (3, 224, 224)
    """
    sizes = words.split(",")
    are_sizes = all(size.strip().isdecimal() and int(size) > 0 for size in sizes)
    if len(sizes) < 2 or not are_sizes:
        hint = [f"--input 1,{words} says vectors, or texts, of {words}"] if are_sizes else []
        raise StarcliError(f"--input {words}: expected sizes, batch included, as in 1,3,224,224", hint)
    return tuple(int(size) for size in sizes[1:])


def example_input(input_shape: Sequence[int], dtype: str) -> Tensor:
    """Batch (EXAMPLE_BATCH, *input_shape) of normal draws (float32), or of tokens 0 (int64).

    A proof draws other tokens from the vocabulary.
    """
    if dtype == "int64":
        return torch.zeros(EXAMPLE_BATCH, *input_shape, dtype=torch.int64)
    draws = torch.Generator().manual_seed(0)
    return torch.randn(EXAMPLE_BATCH, *input_shape, generator=draws, dtype=torch.float32)


def extreme_tokens(input_shape: Sequence[int], vocab_size: int, *, padded: bool = False) -> Tensor:
    """Tokens (EXAMPLE_BATCH, length), the largest of `vocab_size` among them, and the -1 of padding where asked for.

    A network that takes these takes all.
    """
    tokens = torch.zeros(EXAMPLE_BATCH, *input_shape, dtype=torch.int64)
    tokens[0, 0] = vocab_size - 1
    if padded:
        tokens[1, 1:] = -1
    return tokens


def default_input_shape(name: str, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of an input of an architecture by its arguments. Raises InputNeeded for a function of the user's own."""
    if is_huggingface(name):
        return input_of_class(name, arguments)
    if is_external(name):
        if name.partition(":")[0] in ("torchvision", "timm"):
            return IMAGE_SHAPE
        raise InputNeeded(
            f"--input is needed: the shape of an input of {name}",
            ["for example --input 1,3,224,224, whose first size is the batch"],
        )
    values = _checked(name, arguments)
    if "vocab_size" in values:
        return (int(values.get("length", TEXT_LENGTH)),)
    if "input_size" in values:
        return (int(values["input_size"]),)
    size = values.get("image_size", IMAGE_SHAPE[1] if name in ("resnet18", "resnet50") else 32)
    return (int(values["in_channels"]), *height_and_width(size))


def complete_for_input(
    name: str, arguments: Mapping[str, Any], input_shape: tuple[int, ...], *, trusted: bool
) -> dict[str, Any]:
    """Arguments of a registry architecture completed for its input; those of others as they are."""
    if is_external(name):
        return dict(arguments)
    values = _checked(name, arguments)
    if "in_channels" in values and len(input_shape) != 3:
        line = ",".join(map(str, (1, *default_input_shape(name, arguments))))
        what = f"architecture {name} needs images (channels, height, width), not inputs of shape {input_shape}"
        raise StarcliError(what, [f"for example --input {line}, whose first size is the batch"])
    return complete_arguments(
        name,
        arguments,
        input_shape=input_shape,
        num_classes=int(values["num_classes"]),
        vocab_size=values.get("vocab_size"),
        task=NEXT_TOKEN if values.get("next_token") else CLASSES,
        trusted=trusted,
    )


def default_input_dtype(name: str, arguments: Mapping[str, Any]) -> str:
    """Type of the inputs of an architecture by its arguments: int64 for tokens, which one of the registry says."""
    if is_huggingface(name):
        return "float32" if task_of(name).images else "int64"
    return "int64" if not is_external(name) and "vocab_size" in _checked(name, arguments) else "float32"


def _checked(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a registry architecture, with defaults."""
    return check_arguments(name, builder_of(name), arguments)
