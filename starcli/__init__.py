"""Star domains of neural network solutions: train, align, connect, average and fuse models.

    import starcli as sc
    a, b = sc.load("a.safetensors", "b.safetensors")
    aligned = sc.align(a, b)
    print(sc.barrier(a, aligned).curves["train"].loss_barrier)

Functions take models as files, checkpoints, modules or state dicts, and data by name, as tensors, or as torch data sets
and loaders. Everything here is imported when it is used: `import starcli` itself takes milliseconds.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from starcli.version import __version__

if TYPE_CHECKING:
    from starcli.alignment.alignment import Alignment
    from starcli.barriers.line_barrier import Barrier
    from starcli.barriers.star_report import StarReport
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.lineage import describe
    from starcli.errors import StarcliError
    from starcli.evaluation.predictions import Predictions
    from starcli.evaluation.result_table import ResultTable
    from starcli.files.cache import no_cache
    from starcli.huggingface.adapter_description import describe_adapter
    from starcli.library.adapters import mean_adapter
    from starcli.library.align import align, align_jointly, permute
    from starcli.library.barrier import all_pairs, barrier, interpolate, star_report
    from starcli.library.curve import curve
    from starcli.library.evaluate import bma, evaluate
    from starcli.library.fuse import fuse
    from starcli.library.landscape import plane, surface
    from starcli.library.load_save import load, module, save
    from starcli.library.normal_form import normal_form
    from starcli.library.notes import StarcliWarning, Watcher
    from starcli.library.plot import plot
    from starcli.library.predict import predict
    from starcli.library.report import report
    from starcli.library.selftest import selftest
    from starcli.library.star import find_star
    from starcli.library.train import train
    from starcli.library.where import Where, WhereMeasured
    from starcli.recipes.recipe import Recipe
    from starcli.star.settings import StarSettings
    from starcli.symmetry.derive.derive import derive_and_prove
    from starcli.symmetry.element import Element
    from starcli.symmetry.kinds.derive_kinds import derive_kinds

__all__ = [
    "Alignment",
    "Barrier",
    "Checkpoint",
    "Element",
    "Predictions",
    "Recipe",
    "ResultTable",
    "StarReport",
    "StarSettings",
    "StarcliError",
    "StarcliWarning",
    "Watcher",
    "Where",
    "WhereMeasured",
    "__version__",
    "align",
    "align_jointly",
    "all_pairs",
    "barrier",
    "bma",
    "curve",
    "derive_and_prove",
    "derive_kinds",
    "describe",
    "describe_adapter",
    "evaluate",
    "find_star",
    "fuse",
    "interpolate",
    "load",
    "mean_adapter",
    "module",
    "no_cache",
    "normal_form",
    "permute",
    "plane",
    "plot",
    "predict",
    "report",
    "save",
    "selftest",
    "star_report",
    "surface",
    "train",
]

_MODULES = {
    "alignment.alignment": ("Alignment",),
    "barriers.line_barrier": ("Barrier",),
    "barriers.star_report": ("StarReport",),
    "checkpoints.checkpoint": ("Checkpoint",),
    "checkpoints.lineage": ("describe",),
    "errors": ("StarcliError",),
    "evaluation.result_table": ("ResultTable",),
    "evaluation.predictions": ("Predictions",),
    "files.cache": ("no_cache",),
    "huggingface.adapter_description": ("describe_adapter",),
    "library.adapters": ("mean_adapter",),
    "library.align": ("align", "align_jointly", "permute"),
    "library.barrier": ("all_pairs", "barrier", "interpolate", "star_report"),
    "library.curve": ("curve",),
    "library.evaluate": ("bma", "evaluate"),
    "library.fuse": ("fuse",),
    "library.landscape": ("plane", "surface"),
    "library.load_save": ("load", "module", "save"),
    "library.normal_form": ("normal_form",),
    "library.notes": ("StarcliWarning", "Watcher"),
    "library.plot": ("plot",),
    "library.predict": ("predict",),
    "library.report": ("report",),
    "library.selftest": ("selftest",),
    "library.star": ("find_star",),
    "library.train": ("train",),
    "library.where": ("Where", "WhereMeasured"),
    "recipes.recipe": ("Recipe",),
    "star.settings": ("StarSettings",),
    "symmetry.derive.derive": ("derive_and_prove",),
    "symmetry.element": ("Element",),
    "symmetry.kinds.derive_kinds": ("derive_kinds",),
}

_MADE_CALLS = ("derive_and_prove", "derive_kinds")
"""Functions from below the library, which become calls of it here."""

_OF_COMMANDS = {
    "cache": "sc.no_cache() does without it, and its files are shown and cleared from the shell alone",
    "convert": "the command convert is sc.load and sc.save here",
    "eval": "the command eval is sc.evaluate here",
    "inspect": "the command inspect is sc.describe here",
    "spec": "the command spec is sc.derive_and_prove here",
    "star": "the command star is sc.find_star here",
}
"""What is said of commands whose functions have other names."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            if name in _MADE_CALLS:
                value = import_module(f"{__name__}.library.calls").library_call(value)
            globals()[name] = value
            return value
    message = f"module {__name__!r} has no attribute {name!r}"
    if name in _OF_COMMANDS:
        message += f": {_OF_COMMANDS[name]}"
    raise AttributeError(message, name=name, obj=sys.modules[__name__])


class _Folder(ModuleType):
    """A folder of the package that has the name of a command: who calls it is told the function."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        raise TypeError(f"{self.__name__} is a folder of the package: {_OF_COMMANDS[name]}")


class _Package(ModuleType):
    """This package. Folders become its attributes when something imports them, from then on without `__getattr__`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_COMMANDS and isinstance(value, ModuleType):
            value.__class__ = _Folder
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
