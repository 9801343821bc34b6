"""Arithmetic of a GPU: how exact float32 is there, and whether two runs take their sums in the same order."""

import os
import sys
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

OFF, WARNS, RAISES = 0, 1, 2
"""Modes of `torch.set_deterministic_debug_mode`."""


def set_arithmetic(device: "torch.device", precision: str, *, fast: bool) -> list[str]:
    """Set what torch computes with on `device`; return what is to be said of it.

    By default a GPU takes the same sums each time, so that the same command writes the same bytes; `fast` lets it take
    whatever is fastest. float32 is float32 in products and convolutions alike (torch's own default is TF32 in the
    latter), unless `precision` is tf32, and whatever the process, or code of the user's own, has let torch round.
    Raises StarcliError for tf32 elsewhere than on a GPU.
    """
    import torch
    import torch.utils.deterministic

    torch.set_float32_matmul_precision("highest")
    for where in _newer(torch.backends.mkldnn):
        where.fp32_precision = "ieee"
    if device.type != "cuda":
        if precision == "tf32":
            raise StarcliError(f"--precision tf32: {device.type} has none, only GPUs (--device cuda); use fp32 or bf16")
        return [f"--fast: is for GPUs, and changes nothing on {device.type}"] if fast else []
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    # by older names alone a setting of all at once, torch.backends.fp32_precision, would still hold for convolutions
    for where in _newer(torch.backends.cuda, torch.backends.cudnn):
        where.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not fast, fast
    _set_determinism(OFF if fast else WARNS)
    torch.backends.cuda.enable_cudnn_sdp(fast)  # its sums differ, and nothing warns of it
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # would cost a pass each
    if fast:
        return ["--fast: the same line need not give the same bits again, nor a resumed run those of one in one piece"]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", REPEATABLE_CUBLAS)
    return []


@contextmanager
def arithmetic_restored() -> Iterator[None]:
    """Context after which torch's settings are as before: the process may be somebody else's."""
    import torch

    determinism = torch.get_deterministic_debug_mode()
    attention = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    products = _products()
    before = [(where, name, getattr(where, name)) for where, name in _settings()]
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for where, name, value in before:
            with suppress(RuntimeError):  # torch does not say: then it was set
                if getattr(where, name) == value:
                    continue
            setattr(where, name, value)
        if torch.get_deterministic_debug_mode() != determinism:
            _set_determinism(determinism)
        torch.backends.cuda.enable_cudnn_sdp(attention)


def only_warns() -> bool:
    """Whether operators whose sums may differ from run to run are run all the same, with a warning."""
    import torch

    return torch.get_deterministic_debug_mode() == WARNS


@contextmanager
def strict_determinism() -> Iterator[None]:
    """Context in which such operators are errors, where they were warned of before: torch's attention obeys that alone.

    Its backward pass on a GPU takes the same sums each time only where `warn_only` is not set.
    """
    import torch

    torch.set_deterministic_debug_mode(RAISES)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(WARNS)


def _set_determinism(mode: int) -> None:
    """Set torch's mode of determinism; its compiler follows where it is loaded.

    `torch.use_deterministic_algorithms` loads it, which takes a second.
    """
    import torch

    if "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(mode != OFF, warn_only=mode == WARNS)
    else:
        torch.set_deterministic_debug_mode(mode)


def _newer(*backends: Any) -> list[Any]:
    """Objects that have a precision of their own, of some backends; none where this torch has only older names."""
    parts = [getattr(each, name, None) for each in backends for name in ("matmul", "conv", "rnn")]
    return [each for each in parts if hasattr(each, "fp32_precision")]


def _products() -> str | None:
    """How torch takes products, by its oldest name; None where it was set by others, and torch does not say."""
    import torch

    with suppress(RuntimeError):
        return torch.get_float32_matmul_precision()
    return None


def _settings() -> list[tuple[Any, str]]:
    """Objects and names of settings that `set_arithmetic` changes, older names before the newer, which they change."""
    import torch
    import torch.utils.deterministic

    backends: Any = torch.backends
    found = [
        (backends.cudnn, "deterministic"),
        (backends.cudnn, "benchmark"),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
    ]
    with suppress(RuntimeError):  # once they were set by their newer names, torch refuses to say what they are by these
        _ = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
        found += [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]
    newer = _newer(backends.cuda, backends.cudnn, backends.mkldnn)
    return [*found, *((where, "fp32_precision") for where in newer)]
