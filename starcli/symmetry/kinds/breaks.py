"""The operator at which a kind breaks: the first one whose output is not what would go on with the element.

All tensors that bear a group are acted on by an element of the kind. The values halfway must then be as before, or as
the element makes them along some axis. The first operator whose output is neither is the reason why the kind fails.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.runtime.dispatch_mode import DispatchMode
from starcli.symmetry.kinds.elements import acted
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.proof.places import GroupPlace

UNCHANGED = 1e-8
"""Largest relative difference of values that are the same."""
BY_EPSILON = 1e-3
"""Largest relative difference that an epsilon makes."""


@dataclass(frozen=True)
class Step:
    """One operator of a forward pass: its name, the module in which it is called, its floating outputs."""

    operator: str
    module: str
    outputs: tuple[Tensor, ...]


class _Stop(Exception):
    """Ends a forward pass of which no more is wanted."""


class _Steps(DispatchMode):  # type: ignore[no-untyped-call]
    """Hands every step of a forward pass to a function, but for views of tensors of the network itself."""

    def __init__(self, see: Callable[[Step], None], network: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.see = see
        self.own = {tensor.untyped_storage().data_ptr() for tensor in network}
        self.modules = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        outputs = made if isinstance(made, tuple | list) else (made,)
        numbers = tuple(
            each
            for each in outputs
            if isinstance(each, Tensor)
            and each.is_floating_point()
            and each.untyped_storage().data_ptr() not in self.own
        )
        self.see(Step(func.overloadpacket.__name__.removeprefix("native_").strip("_"), self.modules[-1], numbers))
        return made


@dataclass
class Passes:
    """A forward pass at generic weights, with which others are compared step by step."""

    setting: GenericSetting
    before: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember every step."""

        def keep(step: Step) -> None:
            self.before.append(Step(step.operator, step.module, tuple(each.clone() for each in step.outputs)))

        self._run({}, keep)

    def broken_at(self, acts: Mapping[GroupPlace, Tensor]) -> str:
        """The first operator that breaks what `acts` do at each place, in words; "" where none does.

        Matrices (n, n), or diagonals (n), which act alike in all units around the group.
        """
        ways = list({id(act): act for act in acts.values()}.values())
        for step, now, before in self._compared(acts):
            share = _apart(now, before, ways)
            if share > UNCHANGED:
                place = f"{step.operator} in {step.module}" if step.module else step.operator
                return f"{place}, by its epsilon" if share < BY_EPSILON and "norm" in step.operator else place
        return ""

    def writes(self, place: GroupPlace) -> bool:
        """Whether units are written at the place and not read: whether one of them changes itself alone."""
        n = self.setting.shape(place.group)[-1]
        act = torch.ones(n, dtype=torch.float64)
        act[0] = 2
        for _, now, before in self._compared({place: act}):
            return any(bool((now[mask] == before[mask]).all()) for mask in _all_but_first(now, n))
        return False

    def _compared(self, acts: Mapping[GroupPlace, Tensor]) -> list[tuple[Step, Tensor, Tensor]]:
        """Outputs when these act, with those before, as far as the first that changed beyond what acts."""
        found: list[tuple[Step, Tensor, Tensor]] = []
        count = iter(range(len(self.before)))
        ways = list({id(act): act for act in acts.values()}.values())

        def compare(step: Step) -> None:
            number = next(count, None)
            if number is None or self.before[number].operator != step.operator:
                raise _Stop
            for now, before in zip(step.outputs, self.before[number].outputs, strict=True):
                if now.shape == before.shape and not torch.equal(now, before) and _apart(now, before, []) > UNCHANGED:
                    found.append((step, now.clone(), before))
                    if _apart(now, before, ways) > UNCHANGED:
                        raise _Stop

        everywhere = {
            place: way.expand(*self.setting.shape(place.group)[:-1], *way.shape) for place, way in acts.items()
        }
        self._run(acted(self.setting.spec, self.setting.base, everywhere), compare)
        return found

    def _run(self, tensors: Mapping[str, Tensor], see: Callable[[Step], None]) -> None:
        subject = self.setting.subject
        steps = _Steps(see, subject.state.values())
        names = _names_of_modules(subject.network, steps.modules)
        # a value that is not finite comes after the first that broke
        with suppress(_Stop, StarcliError), self.setting.moved_to(tensors), names, steps:
            subject.run(self.setting.reference.inputs)


@contextmanager
def _names_of_modules(network: nn.Module, stack: list[str]) -> Iterator[None]:
    """A context in which the name of the module that is being called is the last of `stack`."""
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: stack.append(name)))
        handles.append(module.register_forward_hook(lambda *_: stack.pop() and None))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _apart(now: Tensor, before: Tensor, ways: Sequence[Tensor]) -> float:
    """How far `now` is from `before` and from what any of `ways` makes of it along some axis, relative to its size."""
    size = float(before.abs().max()) if before.numel() else 0.0
    if not size or not bool(torch.isfinite(now).all()):
        return 0.0 if torch.equal(now, before) else math.inf
    still = (now - before).abs()
    best = float(still.max())
    for axis in range(now.dim()) if ways else ():
        for shape in _layouts(now.shape[axis], ways[0].shape[-1]):
            rows = before.movedim(axis, -1).reshape(-1, *shape)
            moved = now.movedim(axis, -1).reshape(rows.shape)
            near = (moved - rows).abs()
            for way in ways:
                made = way.unsqueeze(-1) * rows if way.dim() == 1 else way @ rows
                near = torch.minimum(near, (moved - made).abs())
            best = min(best, float(near.max()))
    return best / size


def _all_but_first(tensor: Tensor, n: int) -> Iterator[Tensor]:
    """Masks of all but the first of n units, for every axis and order in which they could stand there."""
    for axis, length in enumerate(tensor.shape):
        for shape in _layouts(length, n):
            others = torch.arange(n).ne(0).reshape(1, n, 1).expand(shape).reshape(-1)
            yield others.reshape([-1 if k == axis else 1 for k in range(tensor.dim())]).expand(tensor.shape)


def _layouts(length: int, n: int) -> set[tuple[int, int, int]]:
    """Shapes (a, n, b) of an axis of that length on which n units stand: all of them each time, or each in a row."""
    times, rest = divmod(length, n)
    return set() if rest else {(times, n, 1), (1, n, times)}
