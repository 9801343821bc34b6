"""A private copy of a network, run at given tensors in a given precision, and comparison of its outputs."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from starcli.errors import StarcliError, first_line
from starcli.models.copies import copy_network
from starcli.models.dtypes import cast_floats_
from starcli.models.modes import notices_mode, set_eval_
from starcli.runtime.blame import raised_at
from starcli.runtime.global_generator import BORROWED
from starcli.symmetry.proof.operators import differentiable_batch_norm, grouped_conv2d, grouped_mm

ROUNDED = 1e-3
"""Largest difference between outputs that are the same but for float32, in units of their spread.

At generic weights deep networks make 7e-4 of rounding (measured: EfficientNet-B7), most less than 1e-5."""


class ProofNetwork:
    """The network under proof: eval mode, on the CPU, in one precision at a time; the original is never touched."""

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """A copy of `network` at `tensors`, in `dtype`."""
        self.original = network
        self.become(dtype, tensors)

    def become(self, dtype: torch.dtype, tensors: Mapping[str, Tensor]) -> None:
        """Start anew from the original, in another precision, at `tensors`.

        The old copy is dropped first: two of a large network would not fit beside each other. It is not converted, as
        networks keep what they computed at their first call, and float32 would round what lies in no checkpoint.
        """
        self.state: dict[str, Tensor] = {}
        self.network: nn.Module = nn.Identity()
        self.network = cast_floats_(copy_network(self.original, _blank(self.original, dtype)).eval(), dtype, "cpu")
        self.dtype = dtype
        self.state = {
            name: value for name, value in self.network.state_dict(keep_vars=True).items() if isinstance(value, Tensor)
        }
        for value in self.state.values():
            value.requires_grad_(False)
        self._remembers = notices_mode(self.network)
        self.load(tensors.items())

    def load(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Copy these named tensors in, one after the other; names that are left out keep their values."""
        if self._remembers:
            self.network.train()
        with torch.no_grad():
            for name, tensor in tensors:
                self.state[name].copy_(tensor)
        self.forget()

    def forget(self) -> None:
        """Make the network forget what it computed from weights that changed (tables of relative positions)."""
        if self._remembers:
            set_eval_(self.network)

    def shared(self) -> list[tuple[str, ...]]:
        """Sets of names that are one and the same memory in the original; copies in another precision may part."""
        found: dict[tuple[int, int], list[str]] = {}
        for name, tensor in self.original.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor) and tensor.numel():
                found.setdefault((tensor.data_ptr(), tensor.numel()), []).append(name)
        return [tuple(names) for names in found.values() if len(names) > 1]

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The floating tensors among the outputs. StarcliError where they are not finite or there are none."""
        with torch.no_grad():
            return self.differentiable(inputs)

    def differentiable(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs as in `run`, with what a gradient needs."""
        inputs = [tensor.to(self.dtype) if tensor.is_floating_point() else tensor for tensor in inputs]
        with precision(self.dtype):
            found = [leaf for leaf in leaves(self._called(inputs)) if leaf.is_floating_point() and leaf.numel()]
        if not found:
            raise StarcliError("the network returns no tensor of numbers, so nothing can be proved about it")
        if not all(bool(torch.isfinite(leaf).all()) for leaf in found):
            raise StarcliError(
                "the network's output is not finite at random weights, so nothing can be proved about it"
            )
        return found

    def _called(self, inputs: Sequence[Tensor]) -> object:
        """The outputs of the network. StarcliError in place of whatever it raises."""
        try:
            return self.network(*inputs)
        except Exception as error:  # a network of the user's own may raise anything
            raise StarcliError(
                f"the network cannot be evaluated in {self.dtype}, as a proof has to",
                [f"{type(error).__name__}: {first_line(error)}", *raised_at(error)],
            ) from error


def _blank(network: nn.Module, dtype: torch.dtype) -> dict[int, Tensor]:
    """Uninitialised memory in `dtype` for the copies of parameters, by id: their values are replaced anyway.

    They are large, and fresh memory is slow.
    """
    return {
        id(value): nn.Parameter(torch.empty_like(value, dtype=dtype, device="cpu"), requires_grad=False)
        for value in network.state_dict(keep_vars=True).values()
        if type(value) is nn.Parameter and value.is_floating_point()
    }


def leaves(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, maps and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from leaves(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))


def spreads(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[float]:
    """How far each output varies over inputs: rms(y(x1) - y(x2)) / sqrt 2.

    Where an output does not vary, but for rounding, its own size stands in, and 1 where it is zero throughout.
    """
    found = []
    for a, b in zip(first, second, strict=True):
        varies = float((a - b).square().mean().sqrt()) / 2**0.5 if a.shape == b.shape else 0.0
        size = float(a.square().mean().sqrt())
        rounding = 1e-12 if a.dtype is torch.float64 else 1e-6
        found.append(varies if varies > rounding * size else size or 1.0)
    return found


def difference(first: Sequence[Tensor], second: Sequence[Tensor], scale: Sequence[float]) -> float:
    """Largest difference between two evaluations, in units of each output's spread; infinite where shapes differ."""
    if [a.shape for a in first] != [b.shape for b in second]:
        return float("inf")
    return max(float((a - b).abs().max()) / s for a, b, s in zip(first, second, scale, strict=True))


@dataclass(frozen=True)
class Reference:
    """The outputs of a subject at its generic weights on some inputs, for comparison."""

    subject: ProofNetwork
    inputs: tuple[Tensor, ...]
    outputs: list[Tensor]
    scale: list[float]
    """Spread of each output over inputs, the unit of all differences."""

    def anew(self) -> "Reference":
        """The reference of the subject as it is now, in another precision."""
        return replace(self, outputs=self.subject.run(self.inputs))

    def projections(self, inputs: Sequence[Tensor], count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Random sums of the subject's outputs, in units of their spread, where they can be differentiated."""
        outputs = zip(self.subject.differentiable(inputs), self.scale, strict=True)
        found = [(output, scale) for output, scale in outputs if output.requires_grad]
        for _ in range(count if found else 0):
            total = torch.zeros((), dtype=self.subject.dtype)
            for output, scale in found:
                weights = torch.randn(output.shape, generator=generator, dtype=self.subject.dtype)
                total = total + (output * weights).sum() / (scale * output.numel() ** 0.5)
            yield total

    def change(self) -> float:
        """How far the subject's outputs are from these now, in units of their spread."""
        return difference(self.subject.run(self.inputs), self.outputs, self.scale)


def last_example_alone(subject: ProofNetwork, batch: tuple[Tensor, ...], joint: Sequence[Tensor]) -> Reference | None:
    """The last example of a batch with the outputs `joint`; None where the network does not treat that one by itself.

    It does where its outputs are the last rows of those of the whole batch. A first axis that counts something else
    (the steps of a recurrent network) shows, as weights are generic: the last step depends on the first.
    """
    if {len(tensor) if tensor.dim() else 0 for tensor in (*batch, *joint)} != {max(2, len(batch[0]))}:
        return None
    inputs = tuple(tensor[-1:] for tensor in batch)
    try:
        outputs = subject.run(inputs)
    except Exception:  # of any kind: the network may take no batch of one
        return None
    rows = [tensor[-1:] for tensor in joint]
    scale = spreads([tensor[:1] for tensor in joint], rows)
    return Reference(subject, inputs, outputs, scale) if difference(outputs, rows, scale) < ROUNDED else None


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """A context in which new tensors have `dtype` and requests for float32 give `dtype`.

    BatchNorm can be differentiated by its running statistics in it. torch has one default dtype for all threads: those
    that prove, make a network or draw in a step of training wait for each other.
    """
    # In place of the default, a mode of functions would not see what they make inside of them, nor integers that become
    # floats (positions / 2); a mode of operators sees it, and takes four tenths longer for a small ViT (measured).
    with BORROWED:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            # A mode makes torch's attention take a slower way, and is not needed for a float32 forward pass.
            with _Precision(dtype) if dtype is torch.float64 or torch.is_grad_enabled() else nullcontext():
                yield
        finally:
            torch.set_default_dtype(before)


_GROUPED_MM = {getattr(torch.nn.functional, "grouped_mm", None), getattr(torch, "_grouped_mm", None)} - {None}
"""Products of rows by experts' matrices, as far as this torch has them."""


class _Precision(TorchFunctionMode):
    """Redirect float32 to another precision.

    Networks that compute a norm in float32, as RMSNorm in most language models, would round a proof away.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.batch_norm and torch.is_grad_enabled():
            return differentiable_batch_norm(*args, **kwargs)
        if self.dtype is torch.float64:
            if func is torch.nn.functional.conv2d:
                return grouped_conv2d(*args, **kwargs)
            if func in _GROUPED_MM:
                return grouped_mm(*args, **kwargs)
            if func is Tensor.float:
                func = Tensor.double
            args = [self.dtype if argument is torch.float32 else argument for argument in args]
            kwargs = {key: self.dtype if value is torch.float32 else value for key, value in kwargs.items()}
        return func(*args, **kwargs)
