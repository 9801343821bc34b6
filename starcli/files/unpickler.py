"""Interpreter of pickles from strangers: plain data are made, no class is imported, and nothing of a pickle is called.

Objects of classes become `Skipped`. What a pickle's functions give, such as tensors, is said by a table of the caller.
Nesting costs no recursion here, and each instruction costs little: shared parts are never copied.
"""

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from starcli.errors import type_in_words
from starcli.files.pickled_values import Dictionary, Global, RefusedPickle, Skipped

MAXIMUM_STEPS = 2**19
"""Largest number of instructions, unless a file has very many tensors: 10,000 need 300,000; more takes seconds."""

LONGEST_INTEGER = 512
"""Largest number of bits of an integer: states of generators have 128."""
LONGEST_KEY = 16
"""Largest number of values in a tuple that is the key of a dictionary."""


_NAMES = {
    "__builtin__": "builtins",
    "numpy._core.multiarray.scalar": "numpy.number",
    "numpy.core.multiarray.scalar": "numpy.number",
    "numpy._core.multiarray._reconstruct": "numpy.ndarray",
    "numpy.core.multiarray._reconstruct": "numpy.ndarray",
    "_codecs.encode": "bytes",
    "copy_reg": "copyreg",
}
"""Modules as Python 2 called them, and functions of NumPy by what they make."""

_MAKERS = ("copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "builtins.getattr")
"""Functions whose first argument says what they make."""


class Unpickler:
    """Interpreter of the pickles of one file.

    calls: what functions and classes give, by their full names. constants: the same for names that are values.
    persistent: what stands for an object outside the pickle, given its identity there. most: of instructions.
    """

    def __init__(
        self,
        calls: Mapping[str, Callable[..., Any]],
        constants: Mapping[str, Any],
        persistent: Callable[[Any], Any],
        *,
        most: int = MAXIMUM_STEPS,
    ) -> None:
        self.calls, self.constants, self.persistent, self.most = calls, constants, persistent, most
        self.steps = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self, stream: io.BytesIO) -> Any:
        """The value of the next pickle in `stream`, which then stands behind it.

        Raises pickle.UnpicklingError for instructions that no plain data need, and nearly anything for a damaged one.
        """
        self.stack, self.below, self.memo = [], [], {}
        for instruction, argument, _ in pickletools.genops(stream):
            self.step()
            name = instruction.name
            if type(argument) is int and argument.bit_length() > LONGEST_INTEGER:
                raise RefusedPickle("an integer of very many digits")
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(argument)
            elif name in _INSTRUCTIONS:
                _INSTRUCTIONS[name](self, argument)
            else:
                raise RefusedPickle(f"the instruction {name}, which no plain data need")
        raise ValueError("the pickle has no end")

    def step(self, count: int = 1) -> None:
        """Count instructions, or as much work as these."""
        self.steps += count
        if self.steps > self.most:
            raise RefusedPickle("more instructions than any state dict needs")

    def marked(self) -> list[Any]:
        """The values above the topmost mark; those below it are the stack again."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def named(self, module: Any, name: Any) -> Any:
        """The value that a full name stands for."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickle("a name that is no text")
        self.step(3)  # to read two words costs as much; files say a name once, and then refer to it
        full = f"{_NAMES.get(module, module)}.{name}"
        return self.constants[full] if full in self.constants else Global(_NAMES.get(full, full))

    def made(self, function: Any, arguments: Any) -> Any:
        """The result of a call: a value by the table, else an object that is skipped."""
        if not isinstance(function, Skipped) or not isinstance(arguments, tuple):
            raise RefusedPickle("a call of what is no function")
        self.step(sum(len(each) for each in arguments if isinstance(each, list | tuple)))  # a call may copy these
        if isinstance(function, Global) and function.kind in self.calls:
            return self.calls[function.kind](*arguments)
        if function.kind in _MAKERS and arguments and isinstance(arguments[0], Skipped):
            return dictionary() if arguments[0].kind in _EMPTY else Skipped(arguments[0].kind)
        return Skipped(function.kind)


_EMPTY = ("collections.OrderedDict", "collections.defaultdict", "builtins.dict")
"""Classes whose objects are made empty, and filled by later instructions."""


def dictionary(*arguments: Any) -> dict[Any, Any]:
    """A dictionary as `dict`, `OrderedDict`, `defaultdict` and `Counter` make it; a factory of defaults is left out."""
    content = arguments[-1] if arguments else {}
    if isinstance(content, dict) and content:
        return content
    if not isinstance(content, list | tuple):
        return Dictionary()
    return Dictionary({_key(pair[0]): pair[1] for pair in content})


def _key(value: Any) -> Any:
    """A key of a dictionary; what may be deep, or is none, is replaced: hashing it would recurse."""
    if type(value) is tuple:
        plain = len(value) <= LONGEST_KEY and all(type(each) in (str, int, float, bool, bytes) for each in value)
        return value if plain else Skipped("tuple")
    return value if type(value) in (str, int, float, bool, bytes, type(None)) else Skipped(type(value).__name__)


# -- instructions ------------------------------------------------------------------------------------------------------


def _hold(machine: Unpickler, container: Any) -> None:
    """A container counts twice: it is looked into when the pickle is read."""
    machine.step()
    machine.stack.append(container)


def _put(machine: Unpickler, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _mark(machine: Unpickler, _: Any) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: Unpickler, _: Any) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _tuple(machine: Unpickler, size: int) -> None:
    made = tuple(machine.stack[-size:])
    if len(made) != size:
        raise ValueError("the stack is too short")
    machine.stack[-size:] = [made]


def _marked_value(make: Callable[[list[Any]], Any]) -> Callable[[Unpickler, Any], None]:
    """An instruction that makes a value of all that lies above the mark."""

    def instruction(machine: Unpickler, _: Any) -> None:
        content = machine.marked()
        machine.stack.append(make(content))

    return instruction


def _pairs(content: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(content[::2], content[1::2], strict=True)}


def _extend(machine: Unpickler, values: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target += values
    elif not isinstance(target, Skipped):
        raise RefusedPickle(f"values appended to {type_in_words(target)}")


def _update(machine: Unpickler, values: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, dict):
        target.update(_pairs(values))
    elif not isinstance(target, Skipped):
        raise RefusedPickle(f"keys set in {type_in_words(target)}")


def _set_item(machine: Unpickler, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _global(machine: Unpickler, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(machine.named(module, name))


def _stack_global(machine: Unpickler, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.named(module, name))


def _call(machine: Unpickler, _: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.made(function, arguments))


def _call_with_keywords(machine: Unpickler, _: Any) -> None:
    machine.stack.pop()
    _call(machine, _)


def _instance(machine: Unpickler, argument: str) -> None:
    """INST of protocol 0: a class by name, its arguments above the mark."""
    machine.marked()
    _global(machine, argument)
    machine.stack[-1] = machine.made(machine.stack[-1], ())


def _object(machine: Unpickler, _: Any) -> None:
    """OBJ of protocol 1: a class and its arguments above the mark."""
    [function, *_rest] = machine.marked()
    machine.stack.append(machine.made(function, ()))


def _build(machine: Unpickler, _: Any) -> None:
    """The state of an object, which is left out but for the versions of a state dict."""
    state, target = machine.stack.pop(), machine.stack[-1]
    if isinstance(target, Dictionary) and isinstance(state, dict):
        target.versions = state.get("_metadata")


def _persistent(machine: Unpickler, _: Any) -> None:
    machine.stack.append(machine.persistent(machine.stack.pop()))


_CONSTANTS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
"""Instructions that put their own argument on the stack."""

_INSTRUCTIONS: Mapping[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_LIST": lambda machine, _: _hold(machine, []),
    "EMPTY_DICT": lambda machine, _: _hold(machine, {}),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "BYTEARRAY8": lambda machine, _: machine.stack.append(Skipped("bytearray")),
    "EMPTY_SET": lambda machine, _: machine.stack.append(Skipped("set")),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda machine, _: _ignore(machine.marked()),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "TUPLE1": lambda machine, _: _tuple(machine, 1),
    "TUPLE2": lambda machine, _: _tuple(machine, 2),
    "TUPLE3": lambda machine, _: _tuple(machine, 3),
    "TUPLE": _marked_value(tuple),
    "LIST": _marked_value(list),
    "DICT": _marked_value(_pairs),
    "FROZENSET": _marked_value(lambda _: Skipped("frozenset")),
    "APPEND": lambda machine, _: _extend(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _extend(machine, machine.marked()),
    "ADDITEMS": lambda machine, _: _extend(machine, machine.marked()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _update(machine, machine.marked()),
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memo)),
    "GET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "INST": _instance,
    "OBJ": _object,
    "BUILD": _build,
    "BINPERSID": _persistent,
}


def _ignore(_: object) -> None:
    """Nothing is done with it."""
