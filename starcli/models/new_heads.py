"""Classifiers of `transformers` for models that are none, and which of their tensors these do not have."""

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from starcli.errors import StarcliError
from starcli.models.huggingface import any_class, class_of, huggingface_network, names_in_class, quiet

_MAPPINGS = ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES")
"""Tables of `transformers`, from the type of a model to a class."""


def classifier_of_type(model_type: str) -> str:
    """The class of classifiers of texts, else of images, that `AutoModelFor...` has for a type of models.

    StarcliError where `transformers` is missing, or has no such class.

    >>> classifier_of_type("bert"), classifier_of_type("vit")  # doctest: +SKIP
    ('BertForSequenceClassification', 'ViTForImageClassification')
    """
    found = next((name for each in _MAPPINGS if (name := _named_for(each, model_type))), None)
    if found is None:
        raise StarcliError(f"transformers has no classifier of texts or images for models of type {model_type!r}")
    return found


def _named_for(mapping: str, model_type: str) -> str | None:
    if find_spec("transformers") is None:
        raise StarcliError(
            f"models of type {model_type!r} need the package transformers", ["pip install 'starcli[hf]'"]
        )
    named = getattr(import_module("transformers.models.auto.modeling_auto"), mapping).get(model_type)
    return named if named is None or isinstance(named, str) else named[0]


def names_beyond(name: str, own: str, model_type: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """Names of the tensors of the classifier `name` that a model of class `own` does not have.

    own: a class that the package does not have, or "", stands for the bare network of the type.
    """
    kind = any_class(own) or any_class(_named_for("MODEL_MAPPING_NAMES", model_type) or "")
    with torch.device("meta"), quiet():
        there = set() if kind is None else kind(kind.config_class(**arguments)).state_dict().keys()
    body = f"{class_of(name).base_model_prefix}."
    wanted = names_in_class(name, json.dumps(arguments, sort_keys=True))
    return frozenset(each for each in wanted if not {each, each.removeprefix(body)} & there)


@cache
def names_of_outputs(name: str, arguments: str) -> frozenset[str]:
    """Names of the tensors of a classifier, with arguments in JSON, whose shape depends on the number of classes."""
    shapes = []
    for count in (2, 3):
        with torch.device("meta"):
            network = huggingface_network(name, {**json.loads(arguments), "num_labels": count})
        shapes.append({key: tensor.shape for key, tensor in network.state_dict().items()})
    return frozenset(key for key, shape in shapes[0].items() if shapes[1].get(key) != shape)


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
