"""Classes of `transformers` for a task, for models of other classes, and which of their tensors these do not have."""

from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from starcli.errors import StarcliError
from starcli.huggingface.tasks import task_of
from starcli.models.huggingface import any_class, class_of, class_outline, names_in_class, quiet
from starcli.registry.tasks import MASKED_TOKEN, NEXT_TOKEN, OF_TOKENS

_CLASSIFIERS = ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES")
_MAPPINGS: Mapping[str, tuple[str, ...]] = {
    NEXT_TOKEN: ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",),
    MASKED_TOKEN: ("MODEL_FOR_MASKED_LM_MAPPING_NAMES",),
}
"""Tables of `transformers`, from the type of a model to a class, by the task; others are those of classifiers."""


def class_of_type(model_type: str, task: str) -> str:
    """The class that `AutoModelFor...` has for a task and a type of models: of classifiers that of texts, else images.

    StarcliError where `transformers` is missing, or has no such class.

    >>> class_of_type("bert", "classes"), class_of_type("vit", "regression")  # doctest: +SKIP
    ('BertForSequenceClassification', 'ViTForImageClassification')
    >>> class_of_type("bert", "masked-token"), class_of_type("gpt2", "next-token")  # doctest: +SKIP
    ('BertForMaskedLM', 'GPT2LMHeadModel')
    """
    named = (_named_for(each, model_type) for each in _MAPPINGS.get(task, _CLASSIFIERS))
    found = next((name for name in named if name and (task not in OF_TOKENS or task_of(name).texts == task)), None)
    if found is None:
        what = f"head for {task}" if task in OF_TOKENS else "classifier of texts or images"
        raise StarcliError(f"transformers has no {what} for models of type {model_type!r}")
    return found


def _named_for(mapping: str, model_type: str) -> str | None:
    if find_spec("transformers") is None:
        raise StarcliError(
            f"models of type {model_type!r} need the package transformers", ["pip install 'starcli[hf]'"]
        )
    named = getattr(import_module("transformers.models.auto.modeling_auto"), mapping).get(model_type)
    return named if named is None or isinstance(named, str) else named[0]


def names_beyond(name: str, own: str, model_type: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Names of the tensors of the class `name` that a model of class `own` does not have.

    own: a class that the package does not have, or "", stands for the bare network of the type.
    """
    kind = any_class(own) or any_class(_named_for("MODEL_MAPPING_NAMES", model_type) or "")
    with torch.device("meta"), quiet():
        there = set() if kind is None else kind(kind.config_class(**arguments)).state_dict().keys()
    body = f"{class_of(name).base_model_prefix}."
    wanted = names_in_class(name, arguments)
    return frozenset(each for each in wanted if not {each, each.removeprefix(body)} & there)


def names_of_outputs(name: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Names of the tensors of a classifier whose shape depends on the number of classes."""
    two, three = (class_outline(name, {**arguments, "num_labels": count}).state_dict() for count in (2, 3))
    return frozenset(key for key, tensor in two.items() if key not in three or three[key].shape != tensor.shape)


def covering_patterns(names: Collection[str], network: Iterable[str]) -> list[str]:
    """The patterns `module.*` that cover just these `names` of a network's, as few as there can be; a name where none.

    >>> covering_patterns({"head.a.bias", "head.b.bias", "w"}, ["body.bias", "head.a.bias", "head.b.bias", "w"])
    ['head.*', 'w']
    """
    every = list(network)
    found = dict[str, None]()
    for name in (each for each in every if each in names):
        parts = name.split(".")
        modules = (".".join(parts[:length]) + "." for length in range(1, len(parts)))
        whole = (each for each in modules if all(other in names for other in every if other.startswith(each)))
        found[next((f"{each}*" for each in whole), name)] = None
    return list(found)
