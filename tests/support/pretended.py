"""A device that is not there: tensors are said to be on it and lie on the CPU; who mixes devices or waits is told.

Every operator runs on the CPU, so that results are real and can be compared to the byte. Each memory has a label, the
device that it is said to be on. An operator that meets two devices fails as it does with a card, and what makes the
host wait for a card is noted, with the line of starcli that asked for it. An Apple GPU (mps) has no float64.
"""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

import starcli
from starcli.runtime.dispatch_mode import DispatchMode

PACKAGE = str(Path(starcli.__file__).parent)
CPU = torch.device("cpu")
ATEN = torch.ops.aten

MOVING = {ATEN.copy_.default, ATEN._to_copy.default}
"""Operators that may have tensors of two devices."""
INDEXING = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}
"""Those that take indices of the CPU, and copy them."""
WIDE = {torch.float64, torch.complex128}
"""Types that Apple's GPUs do not have."""
ASKING = {ATEN._local_scalar_dense.default, ATEN.equal.default, ATEN.nonzero.default, ATEN.is_nonzero.default}
"""Those whose result the host waits for."""
SPECIAL = dict.fromkeys(MOVING, "moving") | dict.fromkeys(INDEXING, "indexing") | dict.fromkeys(ASKING, "asking")
"""What is looked up once for an operator: its hash takes longer than the look-up."""


class Pretended:
    """What is on which device, and what was waited for: `waits` counts the kinds of waits by line of starcli."""

    labels: ClassVar[dict[int, tuple[StorageWeakRef, torch.device]]] = {}  # of all, for constants are kept for good
    pinned: ClassVar[dict[int, StorageWeakRef]] = {}

    def __init__(self) -> None:
        self.waits: Counter[tuple[str, str]] = Counter()
        self.copies: Counter[str] = Counter()
        self.context: torch.device | tuple[Any, ...] = CPU

    def device_of(self, tensor: Tensor) -> torch.device:
        """The device that a tensor is said to be on."""
        while torch._C._functorch.is_batchedtensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        storage = tensor.untyped_storage()
        reference, device = self.labels.get(storage._cdata, (None, CPU))
        if reference is not None and not reference.expired():
            return device
        return storage.device if storage.device.type == "meta" else CPU

    def put(self, value: Any, device: torch.device) -> Any:
        """Say that the tensors in `value` are on a device. TypeError for a type that it does not have."""
        for each in _tensors(value):
            if device.type == "mps" and each.dtype in WIDE:
                raise TypeError(f"no {each.dtype} on mps, at {_line()}")
            reference = StorageWeakRef(each.untyped_storage())
            self.labels[reference.cdata] = (reference, device)
            self.pinned.pop(reference.cdata, None)
        return value

    def present(self) -> torch.device:
        """The device of what is made of no tensor: of the last operator, or of the function that is called."""
        if isinstance(self.context, tuple):
            self.context = _common(self, _tensors(self.context))
        return self.context

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor of the CPU lies in memory that a card can read by itself."""
        reference = self.pinned.get(tensor.untyped_storage()._cdata)
        return reference is not None and not reference.expired()

    def pin(self, tensor: Tensor) -> Tensor:
        """Say that a tensor of the CPU lies in such memory."""
        reference = StorageWeakRef(tensor.untyped_storage())
        self.pinned[reference.cdata] = reference
        return tensor

    def moved(self, source: Tensor, target: torch.device, non_blocking: bool) -> None:
        """Note a copy from one device to another."""
        place = _line()
        self.copies[place] += 1
        free = non_blocking and target.type != "cpu" and self.is_pinned(source)
        if not free:
            self.waits[("copy", place)] += 1


class _Functions(TorchFunctionMode):
    """Takes devices out of calls before torch sees them, and answers what device a tensor is on."""

    def __init__(self, pretended: Pretended) -> None:
        super().__init__()
        self.pretended = pretended

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        pretended = self.pretended
        special = _SPECIAL.get(func)
        if special is not None:
            return special(pretended, *args, **(kwargs or {}))
        if not kwargs:
            before, pretended.context = pretended.context, args
            try:
                return func(*args)
            finally:
                pretended.context = before
        keywords = dict(kwargs)
        asked = keywords.pop("device", None)
        if asked is not None and torch.device(asked).type == "meta":
            return func(*args, **keywords, device=asked)
        pinned = keywords.pop("pin_memory", False)
        device = CPU if asked is None else _device(asked)
        before, pretended.context = pretended.context, (args, keywords) if asked is None else device
        try:
            found = func(*args, **keywords)
        finally:
            pretended.context = before
        if asked is not None:
            if func in (torch.tensor, torch.as_tensor) and device.type != "cpu":
                pretended.waits[("copy", _line())] += 1
            pretended.put(found, device)
        return pretended.pin(found) if pinned else found


class _Operators(DispatchMode):
    """Looks at the devices of each operator's tensors, and labels what it makes."""

    def __init__(self, pretended: Pretended) -> None:
        super().__init__()
        self.pretended = pretended

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        pretended, keywords = self.pretended, kwargs or {}
        tensors = _tensors((args, keywords) if keywords else args)
        known = {each.untyped_storage()._cdata for each in tensors}
        device = self._agreed(func, args, keywords, tensors)
        found = func(*args, **keywords)
        for each in [found] if isinstance(found, Tensor) else _tensors(found):
            if each.untyped_storage()._cdata not in known:  # an address may have the label of what was there before
                pretended.put(each, device)
        return found

    def _agreed(self, func: Any, args: Any, keywords: Mapping[str, Any], tensors: list[Tensor]) -> torch.device:
        """The device of an operator's tensors. RuntimeError where there are two."""
        pretended = self.pretended
        if not tensors:
            return pretended.present()
        first, kind = pretended.device_of(tensors[0]), SPECIAL.get(func)
        if kind == "moving":
            source = tensors[-1]
            if pretended.device_of(source) != first:
                pretended.moved(source, first, bool(keywords.get("non_blocking") or (len(args) > 2 and args[2])))
            return first
        devices = {first, *[pretended.device_of(each) for each in tensors[1:] if each.dim()]}
        if kind == "indexing" and CPU in devices and len(devices) == 2 and first.type != "cpu":
            pretended.waits[("copy", _line())] += 1
            devices.discard(CPU)
        if CPU in devices and not tensors[0].dim() and len(devices) == 2 and first == CPU:
            devices.discard(CPU)  # a number as the first operand, as in 2 - x
        if len(devices) > 1:
            raise RuntimeError(f"{func}: tensors on {', '.join(sorted(map(str, devices)))}, at {_line()}")
        [device] = devices
        if kind == "asking" and device.type != "cpu":
            pretended.waits[("ask", _line())] += 1
        pretended.context = device
        return device


def _tensors(value: Any) -> list[Tensor]:
    """Those in a value and the tuples, lists and dicts in it; torch's own walk takes several times as long."""
    found: list[Tensor] = []
    _collect_(value if isinstance(value, tuple | list) else (value,), found)
    return found


def _collect_(values: Iterable[Any], found: list[Tensor]) -> None:
    for each in values:
        if isinstance(each, Tensor):
            found.append(each)
        elif isinstance(each, tuple | list):
            _collect_(each, found)
        elif isinstance(each, dict):
            _collect_(each.values(), found)


def _device(value: Any) -> torch.device:
    device = torch.device("cuda", value) if isinstance(value, int) else torch.device(value)
    return device if device.type == "cpu" else torch.device(device.type, device.index or 0)


def _common(pretended: Pretended, tensors: list[Tensor]) -> torch.device:
    devices = [pretended.device_of(each) for each in tensors]
    return next((device for device in devices if device.type != "cpu"), CPU)


def _line() -> str:
    """The innermost line of starcli that is running."""
    frame: Any = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside"
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"


def _to(pretended: Pretended, tensor: Tensor, *args: Any, **keywords: Any) -> Tensor:
    """`Tensor.to`, in all its forms."""
    target, rest = None, []
    if "device" in keywords:
        given = keywords.pop("device")
        target = None if given is None else _device(given)
    for each in args:
        if isinstance(each, str | torch.device) or (isinstance(each, int) and not isinstance(each, bool)):
            target = _device(each)
        elif isinstance(each, Tensor):
            target, rest = pretended.device_of(each), [*rest, each.dtype]
        elif isinstance(each, bool):  # non_blocking, copy
            keywords["copy" if "non_blocking" in keywords else "non_blocking"] = each
        elif each is not None:
            rest.append(each)
    non_blocking = bool(keywords.pop("non_blocking", False))
    own = pretended.device_of(tensor)
    if target is None or target == own:
        return tensor.to(*rest, **keywords) if rest or keywords else tensor
    found = tensor.to(*rest, **{**keywords, "copy": True}) if rest or keywords else tensor.clone()
    pretended.moved(tensor, target, non_blocking)
    result: Tensor = pretended.put(found, target)
    return result


def _pin(pretended: Pretended, tensor: Tensor, *_: Any) -> Tensor:
    if pretended.device_of(tensor) != CPU:
        raise RuntimeError("only tensors of the CPU are pinned")
    return pretended.pin(tensor.clone())


def _listed(pretended: Pretended, tensor: Tensor) -> Any:
    if pretended.device_of(tensor) != CPU:
        pretended.waits[("ask", _line())] += 1
    return tensor.tolist()


def _numpy(pretended: Pretended, tensor: Tensor, **keywords: Any) -> Any:
    if pretended.device_of(tensor) != CPU:
        raise TypeError(f"a tensor on {pretended.device_of(tensor)} is no array, at {_line()}")
    return tensor.numpy(**keywords)


_SPECIAL: Mapping[Any, Callable[..., Any]] = {
    torch.Tensor.device.__get__: Pretended.device_of,
    torch.Tensor.is_cuda.__get__: lambda p, tensor: p.device_of(tensor).type == "cuda",
    torch.Tensor.untyped_storage: lambda p, tensor: tensor.untyped_storage(),
    torch.Tensor.get_device: lambda p, tensor: p.device_of(tensor).index or 0,
    torch.Tensor.to: _to,
    torch.Tensor.cpu: lambda p, tensor, **keywords: _to(p, tensor, "cpu", **keywords),
    torch.Tensor.pin_memory: _pin,
    torch.Tensor.is_pinned: lambda p, tensor, *_: p.is_pinned(tensor),
    torch.Tensor.tolist: _listed,
    torch.Tensor.numpy: _numpy,
}


class Stream:
    """A queue of work on the card, which is done at once; `log` keeps the order of what was asked of all queues."""

    log: ClassVar[list[str]] = []

    def __init__(self, device: Any = None, name: str = "side") -> None:
        self.name = name

    def is_capturing(self) -> bool:
        return False

    def wait_event(self, event: "Event") -> None:
        Stream.log.append(f"{self.name} waits for {event.name}")

    def wait_stream(self, stream: "Stream") -> None:
        Stream.log.append(f"{self.name} waits for {stream.name}")

    def record_event(self, event: "Event | None" = None) -> "Event":
        event = event or Event()
        event.record(self)
        return event


MAIN = Stream(name="main")
PRESENT = threading.local()
"""The queue that each thread works for."""


def _present(device: Any = None) -> Stream:
    return getattr(PRESENT, "stream", MAIN)


class Event:
    """A mark in a queue."""

    def __init__(self, **_: Any) -> None:
        self.name = "nothing"

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or _present()
        self.name = f"an event of {stream.name}"
        Stream.log.append(f"{stream.name} marks")

    def synchronize(self) -> None:
        Stream.log.append(f"the host waits for {self.name}")


@contextmanager
def _within(stream: Stream) -> Iterator[None]:
    before, PRESENT.stream = _present(), stream
    try:
        yield
    finally:
        PRESENT.stream = before


class _Generator(torch.Generator):
    """A generator of any device, which draws what that of the CPU draws."""

    def __new__(cls, device: Any = None) -> "_Generator":
        """Make one."""
        return super().__new__(cls)


@contextmanager
def pretended_cuda(patch: pytest.MonkeyPatch, *, free: int = 8 << 30, count: int = 2) -> Iterator[Pretended]:
    """Context in which torch seems to have `count` GPUs with `free` bytes each; `patch` undoes what is put in place."""
    Stream.log.clear()
    generators = tuple(torch.Generator() for _ in range(count))
    current = SimpleNamespace(index=0)
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: count,
        "current_device": lambda: current.index,
        "set_device": lambda device: setattr(current, "index", torch.device(device).index),
        "is_initialized": lambda: True,
        "mem_get_info": lambda device=None: (free, 10 * free),
        "manual_seed": lambda seed: generators[current.index].manual_seed(seed),
        "default_generators": generators,
        "get_rng_state": lambda device=0: generators[_device(device).index].get_state(),
        "set_rng_state": lambda state, device=0: generators[_device(device).index].set_state(state),
        "synchronize": lambda device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda device=None: "pretended",
        "set_sync_debug_mode": lambda mode: None,
        "Stream": Stream,
        "Event": Event,
        "stream": _within,
        "current_stream": _present,
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, answer)
    patch.setattr(torch, "Generator", _Generator)
    # Adam asks, in one of these ways, whether it is in a graph
    patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    patch.setattr(torch.accelerator, "current_stream", _present)
    pretended = Pretended()
    with _Operators(pretended), _Functions(pretended):
        yield pretended


@contextmanager
def pretended_mps(patch: pytest.MonkeyPatch) -> Iterator[Pretended]:
    """Context in which torch seems to have an Apple GPU."""
    generator = torch.Generator()
    answers: dict[str, Any] = {
        "manual_seed": generator.manual_seed,
        "get_rng_state": lambda device="mps": generator.get_state(),
        "set_rng_state": lambda state, device="mps": generator.set_state(state),
        "synchronize": lambda: None,
    }
    for name, answer in answers.items():
        patch.setattr(torch.mps, name, answer)
    patch.setattr(torch, "Generator", _Generator)
    patch.setattr(torch.backends.mps, "is_available", cache(lambda: True))
    pretended = Pretended()
    with _Operators(pretended), _Functions(pretended):
        yield pretended
