"""A network as a graph of ATen operators, by torch.export."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from starcli.errors import StarcliError
from starcli.models.huggingface import experts_without_loops
from starcli.runtime.blame import raised_at
from starcli.symmetry.derive.every_row import EveryRow


def export(network: nn.Module, args: tuple[Any, ...]) -> Any:
    """The exported program of `network`, with fixed sizes. StarcliError where torch.export cannot follow it.

    Where sizes depend on the values of the inputs, every choice of rows is of all (see `every_row.py`).
    """
    with _quiet(), torch.no_grad(), experts_without_loops(network):
        try:
            program = _without_transforms(torch.export.export(network, args, strict=False))
            if not has_fixed_sizes(program):
                program = _of_every_row(network, args) or program
        except Exception as error:
            program = _of_every_row(network, args)
            if program is None:
                reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise cannot_be_traced(f"{type(error).__name__}: {reason.strip()}", *raised_at(error)) from error
    return program


def _without_transforms(program: Any) -> Any:
    """The program with the operators that `torch.vmap` and `jvp` make of those of their functions, in their place."""
    inside = any(
        getattr(node.target, "__module__", "") == "torch._functorch.predispatch" for node in program.graph.nodes
    )
    return program.run_decompositions({}) if inside else program


def _of_every_row(network: nn.Module, args: tuple[Any, ...]) -> Any:
    """The exported program that gives every module all rows, if there is one."""
    try:
        with EveryRow():
            program = _without_transforms(torch.export.export(network, args, strict=False))
    except Exception:  # what is wrong with the network itself was said before
        return None
    return program if has_fixed_sizes(program) else None


def has_fixed_sizes(program: Any) -> bool:
    """Whether no size of an exported program depends on the values of its inputs."""
    values = [leaf for node in program.graph.nodes for leaf in tree_leaves(node.meta.get("val"))]
    return not any(
        isinstance(n, torch.SymInt) for value in values if isinstance(value, torch.Tensor) for n in value.shape
    )


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
