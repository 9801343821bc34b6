"""The device that computes: its choice, and copies to it that nobody waits for, what it can hold."""

from typing import TYPE_CHECKING

from starcli.errors import StarcliError, first_line
from starcli.runtime import distributed

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def choose_device(name: str) -> "torch.device":
    """Device for `--device`: cpu, cuda, cuda:1, mps or auto (cuda, else cpu).

    A GPU comes with its number, as tensors on it name it: `cuda` is the present one, 0 unless the process says
    otherwise (under torchrun each rank's own). An Apple GPU, mps, is taken only where it is asked for: nothing was
    measured on one. Raises StarcliError where there is no such device.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not available.get(kind, False):
        reasons = _why_no_gpu() if kind == "cuda" else []
        raise StarcliError(f"--device {name}: there is none here; use auto or cpu", reasons)
    if kind != "cuda":
        return torch.device("cpu") if kind == "cpu" else torch.device(kind, 0)
    if not number:
        # asking a driver that nobody needed so far takes half a second; then it is the first
        started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return torch.device("cuda", torch.cuda.current_device() if started else 0)
    if distributed.size() > 1:
        raise StarcliError(f"--device {name}: each rank has a GPU of its own; leave the number out")
    count = torch.cuda.device_count()
    if not number.isdecimal() or int(number) >= count:
        raise StarcliError(f"--device {name}: there {f'are {count} GPUs' if count > 1 else 'is 1 GPU'}, from cuda:0 on")
    return torch.device("cuda", int(number))


def _why_no_gpu() -> list[str]:
    """What torch says of a GPU that it cannot use: it was built for CPUs alone, finds no driver, or an old one."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return [f"torch {torch.__version__}: {first_line(error)[:160]}"]
    return []


def to_device(tensor: "Tensor", device: "torch.device") -> "Tensor":
    """A tensor of the CPU on `device`; a GPU fetches it when it comes to it, while the process goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # its memory is not used again before it was fetched


def float64(tensor: "Tensor") -> "Tensor":
    """`tensor` in float64, on the CPU where its device has none (mps)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
