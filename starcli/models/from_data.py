"""Arguments of networks that data decide: classes, the size of an input, tokens. Needs no torch."""

import math
from typing import Any

from starcli.registry.tasks import NEXT_TOKEN

SYNONYMS = {
    "in_channels": ("in_channels", "in_chans", "channels", "num_channels"),
    "num_classes": ("num_classes", "n_classes", "classes", "num_labels"),
    "image_size": ("image_size", "img_size"),
    "input_size": ("input_size", "in_features", "input_dim"),
    "vocab_size": ("vocab_size", "num_embeddings"),
    "length": ("length", "max_length", "context_length"),
    "next_token": ("next_token",),
}
"""Each such argument of ours, and the names that libraries give to it."""


def decided_by_data(
    input_shape: tuple[int, ...], num_classes: int, vocab_size: int | None, task: str
) -> dict[str, Any]:
    """Arguments of architectures that data decide, as JSON values; the last two are of tokens.

    >>> decided_by_data((3, 32, 48), 10, None, "classes")
    {'num_classes': 10, 'input_size': 4608, 'in_channels': 3, 'image_size': [32, 48]}
    """
    values: dict[str, Any] = {"num_classes": num_classes, "input_size": math.prod(input_shape)}
    if len(input_shape) == 3:
        values |= {"in_channels": input_shape[0], "image_size": image_size_of(*input_shape[1:])}
    if vocab_size is not None:
        values |= {"vocab_size": vocab_size, "length": input_shape[0], "next_token": task == NEXT_TOKEN}
    return values


def image_size_of(height: int, width: int) -> int | list[int]:
    """`ImageSize`, as JSON has it, of an image: one integer where it is square."""
    return height if height == width else [height, width]
