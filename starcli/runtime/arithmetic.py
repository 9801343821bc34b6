"""What a GPU computes with: how exact float32 is there, and whether two runs take their sums in the same order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from starcli.errors import StarcliError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "tf32", "bf16")
"""Of products and convolutions: float32; on a GPU float32 rounded to 10 bits (TF32); bfloat16 by autocast."""

REPEATABLE_CUBLAS = ":4096:8"
"""Workspace of cuBLAS with which a product is the same each time (its documentation, "Results reproducibility")."""


def set_arithmetic(device: "torch.device", precision: str, *, fast: bool) -> list[str]:
    """Set what torch computes with on `device`; return what is to be said of it.

    By default a GPU takes the same sums each time, so that the same command writes the same bytes; `fast` lets it take
    whatever is fastest. float32 is float32 in products and convolutions alike (torch's own default is TF32 in the
    latter), unless `precision` is tf32. Raises StarcliError for tf32 elsewhere than on a GPU.
    """
    import torch
    import torch.utils.deterministic

    if device.type != "cuda":
        if precision == "tf32":
            raise StarcliError(f"--precision tf32: {device.type} has none, only GPUs (--device cuda); use fp32 or bf16")
        return [f"--fast: is for GPUs, and changes nothing on {device.type}"] if fast else []
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not fast, fast
    torch.use_deterministic_algorithms(not fast, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # would cost a pass each
    if fast:
        return ["--fast: the same line need not give the same bits again, nor a resumed run those of one in one piece"]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", REPEATABLE_CUBLAS)
    return []


@contextmanager
def arithmetic_restored() -> Iterator[None]:
    """Context after which torch's settings are as before: the process may be somebody else's."""
    import torch

    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    before = [(where, name, getattr(where, name)) for where, name in _settings()]
    try:
        yield
    finally:
        for where, name, value in before:
            with suppress(RuntimeError):  # torch does not say: then it was set
                if getattr(where, name) == value:
                    continue
            setattr(where, name, value)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic, warn_only=only_warns)


def _settings() -> list[tuple[Any, str]]:
    """Objects and names of settings that `set_arithmetic` changes."""
    import torch
    import torch.utils.deterministic

    backends: Any = torch.backends
    found = [
        (backends.cudnn, "deterministic"),
        (backends.cudnn, "benchmark"),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
    ]
    try:  # once they were set by their newer names, torch refuses to say what they are by these
        _ = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    except RuntimeError:
        newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [*found, *((where, "fp32_precision") for where in newer)]
    return [*found, (backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]
