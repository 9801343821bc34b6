"""Architectures outside the registry: `torchvision:NAME`, `timm:NAME`, `package.module:callable`, `file.py:callable`.

Such a name imports and runs code. It is followed only where the caller says that it came from the command line; a
checkpoint never names code.
"""

import contextlib
import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from starcli.errors import StarcliError, suggestion, type_in_words, unknown
from starcli.huggingface.directory import PREFIX
from starcli.huggingface.tasks import IMAGE_CLASSES, TEXT_CLASSES, task_of
from starcli.models.arguments import Builder
from starcli.models.copies import uncompiled
from starcli.models.from_data import SYNONYMS
from starcli.models.huggingface import config_of, huggingface_network
from starcli.models.names import is_external, is_huggingface
from starcli.runtime.blame import INSTALLED
from starcli.runtime.user_code import LIBRARIES, user_callable, user_code_explained


def external_builder(name: str, *, trusted: bool) -> Builder:
    """Import the function behind an external name. Raises StarcliError where it is not trusted or not there."""
    package, _, attribute = name.partition(":")
    if is_huggingface(name):
        return lambda **arguments: huggingface_network(attribute, arguments)
    if not trusted:
        raise StarcliError(
            f"architecture {name!r} lies outside the registry and would import code",
            ["such a name is followed only when it is given on the command line, as --arch"],
        )
    if package == "torchvision":
        return _torchvision(attribute)
    if package == "timm":
        return _timm(attribute)
    return user_callable(package, attribute, "architecture")


def _torchvision(name: str) -> Builder:
    """Builder of one of torchvision's classification models."""
    import torchvision.models

    # classification models only: these are the ones that live in torchvision.models itself
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown("torchvision architecture", name, known)

    def make(**arguments: Any) -> nn.Module:
        network = torchvision.models.get_model(name, weights=None, **arguments)
        assert isinstance(network, nn.Module)
        return network

    return make


def _timm(name: str) -> Builder:
    """Builder of one of timm's models."""
    if find_spec("timm") is None:
        raise StarcliError(f"architecture timm:{name} needs the package timm", ["pip install timm"])
    timm = import_module("timm")
    known = timm.list_models()
    if name not in known:
        raise unknown("timm architecture", name, known)

    def make(**arguments: Any) -> nn.Module:
        network = timm.create_model(name, pretrained=False, **arguments)
        assert isinstance(network, nn.Module)
        return network

    return make


def build_external(name: str, function: Builder, arguments: Mapping[str, Any]) -> nn.Module:
    """The network, in float32, that `function` makes of `arguments`.

    Raises StarcliError for arguments that it does not take, and where it fails or makes no network with known sizes.
    """
    _check_call(name, inspect.signature(function), arguments)
    with user_code_explained(f"architecture {name} cannot be built"):
        network = function(**arguments)
    if not isinstance(network, nn.Module):
        raise StarcliError(f"architecture {name} made {type_in_words(network)}, not a torch.nn.Module")
    if any(
        isinstance(each, UninitializedParameter | UninitializedBuffer)
        for each in chain(network.parameters(), network.buffers())
    ):
        raise StarcliError(f"architecture {name} has lazy layers: give each of them its sizes")
    return uncompiled(network).float()


def _check_call(name: str, signature: inspect.Signature, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a function does not take, and the lack of those that it needs."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [each.name for each in signature.parameters.values() if each.kind in named]
    try:
        signature.bind(**arguments)
    except TypeError as error:
        open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
        strange = [] if open_ended else [each for each in arguments if each not in known]
        problems = [f"{each}: no such argument{suggestion(each, known)}" for each in strange] or [str(error)]
        raise StarcliError(f"architecture {name}: wrong arguments", problems) from error


def is_of_library(name: str) -> bool:
    """Whether an architecture is one of `LIBRARIES`, so that its name and arguments tell it."""
    return is_huggingface(name) or name.partition(":")[0] in LIBRARIES


def code_hash(name: str, network: nn.Module) -> str:
    """Hash of the code behind an external architecture; empty for the registry's, whose code goes with our version.

    What is cached under a name alone would outlive an edit of the code. The hash is over the versions of `LIBRARIES`,
    and the sources of all modules loaded by now that belong to a package of the builder or of the network's classes, or
    lie outside of what is installed.
    """
    if not is_external(name):
        return ""
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {getattr(sys.modules.get(library), '__version__', '')}\n".encode())
    if is_of_library(name):
        return digest.hexdigest()
    roots = {module.partition(".")[0] for module in (name, *(type(each).__module__ for each in network.modules()))}
    for module, source in sorted(_sources(roots - set(LIBRARIES)).items()):
        digest.update(f"{module} {hashlib.sha256(source).hexdigest()}\n".encode())
    return digest.hexdigest()


def _sources(roots: set[str]) -> dict[str, bytes]:
    """Sources of loaded modules, by name: of the packages `roots`, and of all outside of what is installed."""
    standard, found = sysconfig.get_paths()["stdlib"] + os.sep, {}
    for name, module in list(sys.modules.items()):
        root = name.partition(".")[0]
        if root in (*LIBRARIES, "starcli", "__main__"):
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        # as text: thousands of paths would take 10 ms
        installed = file.startswith(standard) or not INSTALLED.isdisjoint(file.split(os.sep))
        if root in roots or not installed:
            with contextlib.suppress(OSError):  # an archive, or deleted since
                found[name] = Path(file).read_bytes()
    return found


def arguments_from_data(name: str, function: Builder, values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that data decide (`values`), under the names that `function` gives them.

    A config says all of a class of `transformers` but for how many classes a classifier has, where that is not as
    usual. torchvision takes the number of classes and always 3 channels; timm
    channels as well; a function of the user's own gets what its signature names.
    """
    if is_huggingface(name):
        bare, count = name.removeprefix(PREFIX), values["num_classes"]
        classifies = task_of(bare) in (IMAGE_CLASSES, TEXT_CLASSES)
        return {"num_labels": count} if classifies and count != config_of(bare, {}).num_labels else {}
    package = name.partition(":")[0]
    if package == "torchvision":
        return {"num_classes": values["num_classes"]}
    if package == "timm":
        channels = {"in_chans": values["in_channels"]} if "in_channels" in values else {}
        return {"num_classes": values["num_classes"], **channels}
    known = inspect.signature(function).parameters
    return {name: value for meaning, value in values.items() for name in SYNONYMS[meaning] if name in known}
