"""Facts about a node of an exported graph: its operator, the shapes of its results, the source line it comes from."""

import operator
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import torch
from torch import fx

from starcli.runtime.blame import is_torchs

_FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in .*\n\s*(?P<code>.*)')


def name(target: Any) -> str:
    """Name of the operator, without its overload and a trailing underscore: `aten.add_.Tensor` is `add`."""
    name = str(getattr(getattr(target, "overloadpacket", target), "__name__", target))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def mutates(target: Any) -> bool:
    """Whether the operator writes to one of its arguments."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def is_view(target: Callable[..., Any] | str) -> bool:
    """Whether the result shares memory with the first argument without being it."""
    if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable or not target._schema.arguments:
        return target is operator.getitem
    alias = target._schema.arguments[0].alias_info
    return alias is not None or name(target) in ("reshape", "flatten", "contiguous", "chunk", "to")


def shapes(node: fx.Node) -> tuple[tuple[tuple[int, ...], ...], bool]:
    """The shapes of the results, and whether they come as a tuple."""
    found = node.meta["val"]
    many = isinstance(found, list | tuple)
    values = found if many else (found,)
    return tuple(tuple(int(n) for n in getattr(value, "shape", ())) for value in values), many


def where(node: fx.Node) -> str:
    """The operator and the source line of a node, as `conv2d at resnet.py:93: out = self.conv1(x)`.

    It is the innermost line that is not torch's own. Where all lines are (a network put together from torch's modules),
    the module: `linear in 0.up (Linear)`.
    """
    operator_name = name(node.target)
    own = [match for match in _FRAME.finditer(node.meta.get("stack_trace") or "") if not is_torchs(match["file"])]
    if own:
        return f"{operator_name} at {PurePath(own[-1]['file']).name}:{own[-1]['line']}: {own[-1]['code'].strip()}"
    modules = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = modules[-1] if modules else ("", "")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f"{operator_name} in {path} ({kind.rpartition('.')[2]})" if path else operator_name
