"""A network as a graph of ATen operators, by torch.export."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from starcli.errors import StarcliError
from starcli.models.huggingface import experts_without_loops
from starcli.runtime.blame import raised_at


def export(network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Any:
    """The exported program of `network`. StarcliError where torch.export cannot follow it."""
    with _quiet(), torch.no_grad(), experts_without_loops(network):
        try:
            return torch.export.export(network, args, dict(kwargs or {}), strict=False)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise cannot_be_traced(f"{type(error).__name__}: {reason.strip()}", *raised_at(error)) from error


def cannot_be_traced(*problems: str) -> StarcliError:
    """What to raise for a network that cannot be followed, with what can be done without that."""
    way = "commands that align nothing, and --align none, do without; or a spec written by hand, --spec"
    return StarcliError("the network cannot be traced", [*problems, way])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch, which says at length, in three ways, what the exception that it raises says as well."""
    disabled = logging.root.manager.disable
    nowhere = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
