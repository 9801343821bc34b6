"""Shipped specs by architecture."""

import inspect
from collections.abc import Mapping
from typing import Any

from starcli.models.arguments import check_arguments
from starcli.models.build import builder_of
from starcli.models.names import is_external
from starcli.symmetry.archspec.library import load_spec, spec_dir
from starcli.symmetry.archspec.spec import Spec, permutations_of


def shipped_spec(name: str, arguments: Mapping[str, Any]) -> tuple[Spec, dict[str, int]] | None:
    """The shipped spec of an architecture, and the variables that its patterns use; None if there is none.

    Kinds depend on the activation, and shipped specs say those of the default one; with another they say none.

    >>> spec, variables = shipped_spec("mlp", {"input_size": 9, "num_classes": 3, "depth": 2})
    >>> spec.source.endswith("mlp.yaml"), variables["depth"]
    (True, 2)
    """
    if is_external(name):
        return None
    builder = builder_of(name)
    values = check_arguments(name, builder, arguments)
    variables = pattern_variables(values)
    if name == "densenet40-12":
        variables["layers"] = (values["depth"] - 4) // 3  # of each block
    # by path: a file in the working directory that is called `mlp` must not take its place
    spec = load_spec(spec_dir() / f"{_file_of(name, values)}.yaml")
    usual = inspect.signature(builder).parameters.get("activation")
    return spec if usual is None or values["activation"] == usual.default else permutations_of(spec), variables


def pattern_variables(arguments: Mapping[str, Any]) -> dict[str, int]:
    """The arguments of an architecture that patterns of a spec may compute with: all integers."""
    return {name: value for name, value in arguments.items() if type(value) is int}


def _file_of(name: str, values: Mapping[str, Any]) -> str:
    """The file of the spec that belongs to an architecture with these arguments."""
    match name:
        case "resnet":
            return {2: "resnet-2", 3: "resnet", 4: "resnet18-cifar"}[values["stages"]]
        case "wrn":
            # a first stage as wide as the stem has no shortcut convolution: one residual stream less
            return "wrn" if values["widen_factor"] > 1 else "wrn-1"
    return name
