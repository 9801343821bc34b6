"""The sources of a star as vectors on the network's device: all kept for the epoch, or the next one read ahead.

On a CPU few or small sources are kept composed; otherwise the next one is composed by a thread while the current step
runs. On a GPU the sources and their composed vectors are kept there while they fit, and composed there; otherwise the
thread composes the next one in memory that the GPU can read by itself, which it does beside the step.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from starcli.models.flat_network import FlatNetwork
from starcli.runtime.memory import spare_bytes

Compose = Callable[[int, Mapping[str, Tensor], Tensor], Tensor]
"""Writes the permuted parameters of a source, whose tensors are given, into a vector (P,), and returns it."""

Open = Callable[[int], Mapping[str, Tensor]]
"""The tensors of a source, from its file."""

KEPT_SOURCE_BYTES = 256 * 2**20
"""Composed sources are kept on a CPU where all of them take no more than this: the memory of a star is then bounded."""


def fits(count: int, parameters: Tensor) -> bool:
    """Whether so many sources are kept: in 256 MiB; as they are and composed in a quarter of a GPU's free memory."""
    if parameters.device.type == "cuda":
        return 2 * count * parameters.nbytes <= spare_bytes(parameters.device)
    return are_small(count, parameters)


def are_small(count: int, parameters: Tensor) -> bool:
    """Whether so many sources are small enough to be held in memory."""
    return count * parameters.nbytes <= KEPT_SOURCE_BYTES


class KeptVectors:
    """Vectors that stay until the permutations change, each made when it is first asked for."""

    def __init__(self, flat: FlatNetwork, open_source: Open, compose: Compose) -> None:
        self.flat, self.open, self.compose = flat, open_source, compose
        self._composed: dict[int, Tensor] = {}
        self._sources: dict[int, dict[str, Tensor]] = {}

    def vector(self, number: int, following: int | None) -> Tensor:
        """The parameters of source `number` (P,), on the network's device; nothing is made for `following`."""
        if number not in self._composed:
            parameters = self.flat.parameters
            if parameters.device.type == "cuda":
                found = self.compose(number, self._there(number), torch.empty_like(parameters))
            else:
                found = self.compose(number, self.open(number), torch.empty_like(parameters, device="cpu"))
            self._composed[number] = found.to(parameters.device)
        return self._composed[number]

    def _there(self, number: int) -> dict[str, Tensor]:
        """The tensors of a source on the GPU, copied once in the run."""
        if number not in self._sources:
            tensors, device = self.open(number), self.flat.parameters.device
            self._sources[number] = {slot.name: tensors[slot.name].to(device) for slot in self.flat.layout}
        return self._sources[number]

    def forget(self) -> None:
        """Forget what was composed: the permutations are others."""
        self._composed.clear()

    def close(self) -> None:
        """Nothing runs."""


class _Slot:
    """Place for one composed vector on the CPU, from which steps read it."""

    def __init__(self, parameters: Tensor, *, pinned: bool = False) -> None:
        self.composed = torch.empty(parameters.numel(), dtype=parameters.dtype, pin_memory=pinned)

    def free(self) -> None:
        """Say that all steps that read this place have been asked for."""

    def fill(self, write: Callable[[Tensor], Tensor]) -> "_Slot":
        """Let `write` compose a vector in this place."""
        write(self.composed)
        return self

    def vector(self) -> Tensor:
        """The vector, for steps that are asked for from now on; after what still writes into this place."""
        return self.composed


class _GpuSlot(_Slot):
    """A slot on a GPU, which copies from the CPU's memory in a queue beside that of the steps.

    It copies once the steps that still read the place are done, and the CPU composes anew only after that.
    """

    def __init__(self, parameters: Tensor, queue: Any) -> None:
        super().__init__(parameters, pinned=True)
        self.there, self.queue = torch.empty_like(parameters), queue
        self.read: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.copied: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def free(self) -> None:
        """Mark the place in the queue of steps."""
        self.read.record(torch.cuda.current_stream(self.there.device))

    def fill(self, write: Callable[[Tensor], Tensor]) -> _Slot:
        """Let `write` compose a vector, and the GPU copy it in its time."""
        self.copied.synchronize()
        write(self.composed)
        with torch.cuda.stream(self.queue):
            self.queue.wait_event(self.read)
            self.there.copy_(self.composed, non_blocking=True)
            self.copied.record(self.queue)
        return self

    def vector(self) -> Tensor:
        """The vector; steps wait for its copy."""
        torch.cuda.current_stream(self.there.device).wait_event(self.copied)
        return self.there


class PrefetchedVectors:
    """Two vectors, of which a thread makes the next while steps work on the other."""

    def __init__(self, flat: FlatNetwork, open_source: Open, compose: Compose) -> None:
        self.open, self.compose, self.device = open_source, compose, flat.parameters.device
        if self.device.type == "cuda":
            queue = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._slots: list[_Slot] = [_GpuSlot(flat.parameters, queue) for _ in range(2)]
        else:
            self._slots = [_Slot(flat.parameters) for _ in range(2)]
        self._given = self._slots[1]
        self._next: tuple[int, Future[_Slot]] | None = None
        self._thread = ThreadPoolExecutor(1)

    def vector(self, number: int, following: int | None) -> Tensor:
        """The parameters of source `number` (P,), valid until the call after next; `following` is begun meanwhile."""
        prepared, self._next = self._next, None
        slot = None if prepared is None else prepared[1].result()
        if slot is None or prepared is None or prepared[0] != number:
            slot = self._other(self._given)
            slot.free()
            self._fill(number, slot)
        self._given = slot
        if following is not None:
            other = self._other(slot)
            other.free()
            self._next = (following, self._thread.submit(self._fill, following, other))
        return slot.vector().to(self.device)

    def _other(self, slot: _Slot) -> _Slot:
        return self._slots[1] if slot is self._slots[0] else self._slots[0]

    def _fill(self, number: int, slot: _Slot) -> _Slot:
        return slot.fill(lambda out: self.compose(number, self.open(number), out))

    def forget(self) -> None:
        """Wait for what is being made, and forget it: the permutations are others."""
        if self._next is not None:
            self._next[1].result()
            self._next = None

    def close(self) -> None:
        """End the thread; what is asked of a GPU from now on, in memory that was these places', comes after copies."""
        self.forget()
        self._thread.shutdown()
        for slot in self._slots:
            slot.vector()
