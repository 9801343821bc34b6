"""Decorator of every function of the library: simple values are checked, the process is left as it was."""

import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar, get_args

import numpy
import torch

from starcli.alignment.alignment import Alignment
from starcli.alignment.method_settings import SETTINGS
from starcli.errors import StarcliError, unknown
from starcli.evaluation.evaluator import Statistics
from starcli.evaluation.renormalise import RENORMALISATIONS
from starcli.files.number_words import LARGEST_INTEGER
from starcli.library.python_words import in_python
from starcli.registry.alignment_methods import ALIGNED_KINDS, DEFAULT_METHOD, METHODS
from starcli.registry.entry import resolve
from starcli.registry.splits import SPLITS
from starcli.runtime.arithmetic import PRECISIONS, arithmetic_restored
from starcli.runtime.global_generator import BORROWED
from starcli.runtime.process_setting import ProcessSetting
from starcli.runtime.progress import Progress

_P = ParamSpec("_P")
_R = TypeVar("_R")

_INTEGERS = {
    "seed": 0,
    "restarts": 0,
    "points": 3,
    "plants": 1,
    "samples": 1,
    "repeats": 1,
    "realign_restarts": 1,
    "draws_per_step": 1,
    "companions": 0,
    "eval_every": 1,
    "threads": 1,
    "limit": 1,
    "split_seed": 0,
    "image_size": 1,
}
"""Keywords that are integers, and the least of each."""

_NUMBERS = ("t", "perturb", "mu", "noise", "pull", "val_fraction", "realign_drift", "realign_noise", "margin", "radius")
"""Keywords that are numbers; what they may be is said where they are used."""

_TEXTS = ("width", "font", "title")
"""Keywords that are text; what it may say is said where it is used."""

_PATHS = ("data_dir", "spec", "tokenizer")
"""Keywords of `Where` that are paths."""

_WORDS = {
    "precision": PRECISIONS,
    "statistics": get_args(Statistics),
    "renormalise": RENORMALISATIONS,
    "split": SPLITS,
    "kinds": ALIGNED_KINDS,
}
"""Keywords that are one of a few words."""

_ALIGNMENT = ("align", "alignment", "method")
"""What a function may call the alignment: one of these is its own keyword, the others are taken for it."""

_SETTINGS = tuple(each.name for each in fields(Alignment) if each.name != "method")
"""What an alignment is besides its method."""


def library_call(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function of the library as callers see it.

    Unknown keywords are refused, those that are plain values checked, and NumPy's numbers taken as Python's. The work
    is done on the CPU threads that suit the network, with gradients, in float32 and with no default device, whatever
    the caller has set; all of it is put back. Errors name keywords where the command line has options.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    known = _keywords_of(parameters.values())
    flags = {name for name, each in parameters.items() if isinstance(each.default, bool)}
    needed = {name for name, each in parameters.items() if each.default is not None}

    @functools.wraps(function)
    def call(*arguments: _P.args, **keywords: _P.kwargs) -> _R:
        values: dict[str, Any] = {name: _plain(value) for name, value in keywords.items()}
        try:
            for name, value in values.items():
                if name not in known:
                    raise _unknown(name, values, known, parameters)
                own = name in parameters
                if value is not None or (own and name in needed):
                    _check(name, value, is_path=name in _PATHS and not own)
                if name in flags and value not in (True, False):
                    raise StarcliError(f"{name}={value!r:.80}: expected True or False")
            _check_arguments(function.__name__, signature, arguments, values)
            with _own_settings():
                return function(*arguments, **values)
        except StarcliError as error:
            _speak_python(error)
            raise

    return call


def _check_arguments(name: str, signature: inspect.Signature, arguments: Iterable[Any], values: dict[str, Any]) -> None:
    """Raise StarcliError for arguments that are missing or too many."""
    try:
        signature.bind(*arguments, **values)
    except TypeError as error:
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        takes = ", ".join(f"*{each.name}" if each.kind is each.VAR_POSITIONAL else each.name for each in own)
        raise StarcliError(f"{name}: {error}", [f"it takes {takes}"]) from None


def _keywords_of(parameters: Iterable[inspect.Parameter]) -> frozenset[str]:
    """Names of all keywords that a function takes, those of `**options: Unpack[Options]` one by one."""
    found: set[str] = set()
    for each in parameters:
        if each.kind is each.VAR_KEYWORD:
            [options] = get_args(each.annotation)
            found |= options.__required_keys__ | options.__optional_keys__
        elif each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            found.add(each.name)
    return frozenset(found)


def _unknown(
    name: str, values: Mapping[str, Any], known: Collection[str], parameters: Mapping[str, inspect.Parameter]
) -> StarcliError:
    """The error of the unknown keyword `name` among `values`: for settings of the alignment it says where they go."""
    place = next((each for each in ("alignment", "method") if each in parameters), None)
    own = {key: key.removeprefix("align_") for key in values if key not in known}
    own = {key: setting for key, setting in own.items() if setting in _SETTINGS}
    if place is None or name not in (*own, *_ALIGNMENT):
        return unknown("keyword", name, known)
    if name in _ALIGNMENT:
        return StarcliError(f"unknown keyword {name!r}; did you mean {place}?")
    said = {setting: values[key] for key, setting in own.items()}
    if "ends" in said:
        said = {"select": "midpoint", **said}
    method = _method_with(said, values.get(place, parameters[place].default))
    words = ", ".join(f"{setting}={_literal(value)}" for setting, value in said.items())
    are = "is a setting" if len(own) == 1 else "are settings"
    return StarcliError(f"{' and '.join(own)} {are} of sc.Alignment: {place}=sc.Alignment({_literal(method)}, {words})")


def _method_with(settings: Collection[str], wanted: Any) -> str:
    """The method of alignment that is wanted where it has these settings, else the first that has."""
    of_some = {name for name in settings if name in SETTINGS}
    takers = [name for name in (DEFAULT_METHOD, *METHODS) if of_some <= set(resolve(METHODS, "method", name).settings)]
    wanted = wanted.method if isinstance(wanted, Alignment) else wanted
    return wanted if wanted in takers else takers[0] if takers else DEFAULT_METHOD


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value!r:.80}"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, numpy.generic) else value


def _check(name: str, value: Any, *, is_path: bool) -> None:
    """Raise StarcliError for a keyword of a wrong type or outside its range."""
    if name in _INTEGERS:
        least = _INTEGERS[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise StarcliError(f"{name}={value!r:.80}: expected an integer from {least} up")
        if value > LARGEST_INTEGER:
            raise StarcliError(f"{name}={value!r:.80}: expected an integer of at most {LARGEST_INTEGER:,}")
    elif name == "normalise" and not isinstance(value, str):
        raise StarcliError(f"normalise={value!r:.80}: expected none, data, imagenet or MEAN:STD, as one word")
    elif name in _NUMBERS and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise StarcliError(f"{name}={value!r:.80}: expected a number")
    elif name in _TEXTS and not isinstance(value, str):
        raise StarcliError(f"{name}={value!r:.80}: expected text")
    elif is_path and not isinstance(value, str | os.PathLike):
        raise StarcliError(f"{name}={value!r:.80}: expected a path")
    elif name == "progress" and not isinstance(value, Progress):
        raise StarcliError(f"progress={value!r:.80}: expected a subclass of sc.Watcher, as in progress=Bar()")
    elif name in _WORDS and value not in _WORDS[name]:
        raise unknown(name, str(value), _WORDS[name])


@contextmanager
def _own_settings() -> Iterator[None]:
    """Settings of torch under which results do not depend on what the caller has set; the caller's come back."""
    threads = torch.get_num_threads()
    with ExitStack() as stack, arithmetic_restored(), _DTYPE:
        stack.callback(torch.set_num_threads, threads)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.empty(0).device.type != "cpu":  # asked so, for torch 2.6 does not tell of `with torch.device(...)`
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


_DTYPE = ProcessSetting(torch.get_default_dtype, torch.set_default_dtype, torch.float32, lock=BORROWED)
"""The default dtype of tensors, which proofs set too."""


def _speak_python(error: StarcliError) -> None:
    error.summary, error.problems = in_python(error.summary), tuple(map(in_python, error.problems))
    error.args = ("\n".join([error.summary, *(f"  {problem}" for problem in error.problems)]),)
