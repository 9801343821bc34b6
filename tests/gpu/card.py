"""What the card and its host can do at all: the numbers that all others are read against, and what starting takes."""

import os
import statistics
import time

import torch
from torch import Tensor

from .lab import Lab


def matrix_rate(lab: Lab, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a large product of random matrices."""
    size = 128 if lab.quick else 8192
    a, b = (torch.randn(size, size, device=lab.device, dtype=dtype) for _ in range(2))
    times = [lab.seconds(lambda: a @ b) for _ in range(13)]
    return 2 * size**3 / statistics.median(times[3:])


def run(lab: Lab) -> None:
    """The machine, the first operators, launches, memory, products."""
    images = torch.randn(8, 3, 32, 32)
    began = time.perf_counter()
    there = images.to(lab.device)
    lab.wait()
    taken = time.perf_counter() - began
    lab.row("threads of the host", count=torch.get_num_threads(), which=machine(lab))
    lab.row("start of the device", seconds=taken)
    lab.workspace("fp32", arch="mlp", dataset=lab.images(100))  # says what products compute with before there are any
    weight = torch.randn(64, 3, 3, 3, device=lab.device)
    taken = lab.seconds(lambda: torch.nn.functional.conv2d(there, weight).flatten(1) @ torch.ones(57600, 8).to(there))
    lab.row("start of convolutions and products", seconds=taken)
    with lab.part("launches"):
        lab.row("an operator on a few numbers, one of many", microseconds=1e6 * launch(lab))
    with lab.part("memory"):
        memory(lab)
    for precision in ("bf16", "tf32", "fp32") if lab.device.type == "cuda" else ("fp32",):
        with lab.part(f"products, {precision}"):
            lab.workspace(precision, arch="mlp", dataset=lab.images(100))
            rate = matrix_rate(lab, torch.bfloat16 if precision == "bf16" else torch.float32)
            lab.row(f"a product of large matrices, {precision}", teraflops=rate / 1e12)


def machine(lab: Lab) -> str:
    """Cores, memory of the card, and versions."""
    found = {"cores": os.cpu_count(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    if lab.device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(lab.device)
        found |= {"free": f"{free / 2**30:.0f} of {whole / 2**30:.0f} GiB"}
        found |= {"capability": torch.cuda.get_device_capability(lab.device)}
    return str(found)


def launch(lab: Lab) -> float:
    """Seconds that the host needs for an operator: many of them, one after the other, on 16 numbers."""
    count = 100 if lab.quick else 5000
    numbers = torch.zeros(16, device=lab.device)

    def many() -> None:
        for _ in range(count):
            numbers.add_(1.0)

    many()
    return lab.seconds(many) / count


def memory(lab: Lab) -> None:
    """Bytes a second of copies on the device, each read and written, and from the host and back."""
    size = (1 if lab.quick else 1024) << 20
    here = torch.ones(size // 4)
    there = here.to(lab.device)
    other = torch.empty_like(there)
    copies: dict[str, tuple[Tensor, Tensor, int]] = {
        "on the device, read and written": (other, there, 2),
        "from the host": (there, here, 1),
        "to the host": (here, there, 1),
    }
    if lab.device.type == "cuda":
        copies["from the host, from pinned memory"] = (there, here.pin_memory(), 1)
    for what, (target, source, times) in copies.items():
        taken = min(lab.seconds(lambda t=target, s=source: t.copy_(s, non_blocking=True)) for _ in range(4))
        lab.row(f"a copy {what}", gigabytes=times * size / taken / 1e9)
