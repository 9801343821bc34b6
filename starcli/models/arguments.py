"""Arguments of architectures: typed, bounded, and read off the signature of the function that builds the network.

Arguments come from the command line and from checkpoints of unknown origin, so every one is checked here, all problems
of one call in one report, before any network is built.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from torch import nn

from starcli.errors import StarcliError, suggestion
from starcli.models.from_data import image_size_of
from starcli.registry.activations import ACTIVATIONS
from starcli.registry.entry import resolve


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class OneOf:
    """Names that a string may be."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Sides:
    """Bounds of an image's sides; the value is one integer (square) or a pair (height, width)."""

    low: int
    high: int


Width = Annotated[int, Between(1, 65_536)]
"""Types of arguments, with their bounds."""
Depth = Annotated[int, Between(1, 1_000)]
Count = Annotated[int, Between(1, 1_000_000)]
Rate = Annotated[float, Between(0.0, 0.99)]
Activation = Annotated[str, OneOf(tuple(ACTIVATIONS))]
ImageSize = Annotated[int | Sequence[int], Sides(1, 16_384)]

Builder = Callable[..., nn.Module]
"""Function that builds a network from keyword arguments."""


def activation_module(name: str) -> nn.Module:
    """New module of the activation `name` of the registry.

    ReLU writes into its input, which must be a result that nothing else reads: 6% of a small ResNet's step (measured).
    """
    module = resolve(ACTIVATIONS, "activation", name)()
    assert isinstance(module, nn.Module)
    if isinstance(module, nn.ReLU):
        module.inplace = True
    return module


def height_and_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of an `ImageSize`.

    >>> height_and_width(32), height_and_width([32, 48])
    ((32, 32), (32, 48))
    """
    return (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])


NEAR = 0.7
"""Similarity of a name that is meant: that of `hidden` and `hidden_dim` is 0.75, that of `width` and `depth` 0.6."""


def check_arguments(architecture: str, function: Builder, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Check `arguments` against the signature of `function`; return all of them as JSON values, defaults filled in.

    Raises StarcliError, with one line a problem, for unknown names, wrong types and values out of bounds.
    """
    parameters = inspect.signature(function).parameters
    # an architecture may be a functools.partial, which hides its hints
    hints = get_type_hints(getattr(function, "func", function), include_extras=True)
    problems = [
        f"{name}: no such argument{suggestion(name, parameters, cutoff=NEAR)}"
        for name in arguments
        if name not in parameters
    ]
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        value = arguments.get(name, parameter.default)
        found = _fitted(hints[name], value)
        if isinstance(found, _Refused):
            problems.append(f"{name}: must be {found.expected}, not {value!r}{found.help}")
        else:
            values[name] = found
    if problems:
        raise StarcliError(f"architecture {architecture}: wrong arguments", problems)
    return values


@dataclass(frozen=True)
class _Refused:
    """What was expected instead of a value."""

    expected: str
    help: str = ""


def _fitted(hint: Any, value: Any) -> Any:
    """`value` as the type of `hint`, or a `_Refused` that says what was expected."""
    rule = None
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
    if isinstance(rule, Sides):
        return _fitted_sides(rule, value)
    if isinstance(rule, OneOf):
        if isinstance(value, str) and value in rule.names:
            return value
        return _Refused("one of " + ", ".join(rule.names), _close(value, rule.names))
    if hint is bool:
        return value if isinstance(value, bool) else _Refused("true or false")
    number = _is_integer(value) or (hint is float and isinstance(value, float))
    if isinstance(rule, Between):
        kind = "an integer" if hint is int else "a number"
        if number and rule.low <= value <= rule.high:
            return hint(value)
        return _Refused(f"{kind} from {rule.low} to {rule.high}")
    raise TypeError(f"the signature of an architecture has an argument without a rule: {hint}")


def _fitted_sides(rule: Sides, value: Any) -> int | list[int] | _Refused:
    """`value` as an `ImageSize`, or a `_Refused`."""
    pair: Iterable[Any] = (value, value) if _is_integer(value) else value if isinstance(value, list | tuple) else ()
    pair = tuple(pair)
    if len(pair) == 2 and all(_is_integer(side) and rule.low <= side <= rule.high for side in pair):
        return image_size_of(*pair)
    return _Refused(f"an integer or [height, width], each from {rule.low} to {rule.high}")


def _is_integer(value: Any) -> bool:
    """Whether `value` is an integer."""
    # bool is a subclass of int: width=true is a mistake, not 1
    return isinstance(value, int) and not isinstance(value, bool)


def _close(value: Any, known: tuple[str, ...]) -> str:
    """Suggestion of a known name that is like `value`; empty where none is."""
    help = suggestion(value, known) if isinstance(value, str) else ""
    return help if "did you mean" in help else ""
