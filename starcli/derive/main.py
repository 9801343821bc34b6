"""Derive a spec, and prove it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from starcli.archspec import Resolved
from starcli.derive.build import Built, Frozen, build
from starcli.derive.trace import BUFFERS, Trace, export, follow, start


@dataclass(frozen=True)
class Derived:
    """A derived spec."""

    resolved: Resolved
    frozen: tuple[Frozen, ...]
    """Axes of parameters that nothing permutes, each with its reason."""
    notes: tuple[str, ...]
    """Operators without a rule, with the line of the model's source."""


def derive(network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Derived:
    """The symmetry group of `network` as found by tracing it once in eval mode on `example_inputs`, unproved."""
    trace, built = trace_and_build(network, example_inputs, kwargs)
    return Derived(built.resolved, built.frozen, tuple(trace.notes))


def trace_and_build(network: nn.Module, example_inputs: Sequence[Any], kwargs: Mapping[str, Any] | None) -> tuple[Trace, Built]:
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        trace = start(network, BUFFERS)
        follow(trace, export(network, tuple(example_inputs), kwargs))
    finally:
        for module, mode in training.items():
            module.training = mode
    return trace, build(trace, network)
