"""Tasks of classes of `transformers`, by their names: others are not read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN


@dataclass(frozen=True)
class TransformersTask:
    """Inputs of a network, and the task of texts; `known` is false of a class that is not read."""

    images: bool = False
    texts: str | None = None
    known: bool = True


IMAGE_CLASSES = TransformersTask(images=True)
TEXT_CLASSES = TransformersTask(texts=CLASSES)
NEXT_TOKENS = TransformersTask(texts=NEXT_TOKEN)
MASKED_TOKENS = TransformersTask(texts=MASKED_TOKEN)
UNKNOWN = TransformersTask(known=False)

_IMAGE_SIZE, _TEXT_LENGTH = 224, 64
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Keys of a config that say how long a text may be."""

_BY_ENDING = {
    "ForImageClassification": IMAGE_CLASSES,
    "ForSequenceClassification": TEXT_CLASSES,
    "ForCausalLM": NEXT_TOKENS,
    "LMHeadModel": NEXT_TOKENS,
    "ForMaskedLM": MASKED_TOKENS,
}


def task_of(name: str) -> TransformersTask:
    """The task of a class by its name.

    >>> task_of("ViTForImageClassification").images, task_of("BertForMaskedLM").texts, task_of("BertModel").known
    (True, 'masked-token', False)
    """
    return next((task for ending, task in _BY_ENDING.items() if name.endswith(ending)), UNKNOWN)


def input_of_class(name: str, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one input of a class by its config: images as it says, else as most have them; texts that surely fit.

    >>> input_of_class("ViTForImageClassification", {"image_size": 32}), input_of_class("BertForMaskedLM", {})
    ((3, 32, 32), (64,))
    """
    if task_of(name).images:
        size = arguments.get("image_size") or _IMAGE_SIZE
        return (int(arguments.get("num_channels") or 3), *((size, size) if isinstance(size, int) else tuple(size)))
    said = [arguments[key] for key in LENGTHS if isinstance(arguments.get(key), int)]
    return (max(2, min([_TEXT_LENGTH, *(most // 2 for most in said)])),)  # some number positions from 2 on
