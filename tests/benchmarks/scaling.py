"""What training costs on many ranks: bytes a step, bytes a rank, expected efficiency. Writes docs/scaling.md.

    python tests/benchmarks/scaling.py [--quick] [-o docs/scaling.md]

Sizes are those of the very objects that training makes. Times of this machine are measured (medians of CPU seconds, one
thread; two processes for the all-reduce); those of a GPU cluster are assumptions and can be set. The model is the usual
one of a ring all-reduce that does not overlap with the backward pass, as in `starcli.training.batch_pieces.Exchange`.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from starcli.alignment.matching.restarts import WAVES, wave_sizes
from starcli.models.build import build_network
from starcli.models.flat_network import FlatNetwork
from starcli.runtime import distributed
from starcli.training.batch_pieces import Exchange

IMAGES, RANKS, BATCH, SOURCES = 1_281_167, (1, 8, 64, 512), 32, 50
MB = 1e6


@dataclass(frozen=True)
class Machine:
    """Seconds for an image forward and backward, for packing a step's vector, and of the links between ranks."""

    name: str
    image: float
    pack: float
    bandwidth: float
    latency: float

    def step(self, ranks: int, sent: int) -> float:
        """compute + pack + ring: 2 (R - 1) / R * bytes / bandwidth + 2 (R - 1) * latency."""
        if ranks == 1:
            return BATCH * self.image
        ring = 2 * (ranks - 1) / ranks * sent / self.bandwidth + 2 * (ranks - 1) * self.latency
        return BATCH * self.image + self.pack + ring


def median(work: Callable[[], object], rounds: int) -> float:
    """Median CPU seconds."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def image_seconds(network: FlatNetwork, size: int, rounds: int) -> float:
    """Forward and backward of one 224 x 224 image, as part of a small batch."""
    inputs = torch.randn(size, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(size)

    def work() -> None:
        torch.nn.functional.cross_entropy(network.network(inputs), labels).backward()  # type: ignore[no-untyped-call]

    return median(work, rounds) / size


def all_reduce_seconds(
    rank: int, port: int, sizes: tuple[int, ...], rounds: int, found: "multiprocessing.Queue[float]"
) -> None:
    """One of two ranks: wall seconds of an all-reduce of each size in float32 numbers."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with distributed.group():
        for size in sizes:
            vector, times = torch.zeros(size), []
            for _ in range(rounds):
                begin = time.perf_counter()
                distributed.sum_(vector)
                times.append(time.perf_counter() - begin)
            if rank == 0:
                found.put(statistics.median(times))


def links(size: int, rounds: int) -> tuple[float, float]:
    """Bandwidth in bytes a second and latency in seconds between two processes here, by gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    ranks = [context.Process(target=all_reduce_seconds, args=(rank, port, (1, size), rounds, found)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    small, large = found.get(timeout=300), found.get(timeout=300)
    for process in ranks:
        process.join()
    return 4 * size / (large - small), small / 2


def table(machine: Machine, sent: int) -> list[str]:
    """Expected figures by number of ranks."""
    lines = [f"### {machine.name}", ""]
    lines.append(
        f"{1e3 * machine.image:.3g} ms an image, {1e3 * machine.pack:.3g} ms to pack a step's vector, "
        f"{machine.bandwidth / 1e9:.3g} GB/s and {1e6 * machine.latency:.3g} us a link."
    )
    lines += [
        "",
        "| ranks | batch | a step | in exchange | images a second | efficiency |",
        "|---|---|---|---|---|---|",
    ]
    for ranks in RANKS:
        step = machine.step(ranks, sent)
        compute = BATCH * machine.image
        lines.append(
            f"| {ranks} | {ranks * BATCH:,} | {step:.3g} s | {step - compute:.3g} s | {ranks * BATCH / step:,.0f} "
            f"| {compute / step:.1%} |"
        )
    return [*lines, ""]


def held(network: FlatNetwork) -> list[tuple[str, int]]:
    """What a rank holds, in bytes."""
    vector = network.parameters.nbytes
    buffers = sum(buffer.nbytes for buffer in network.buffers.values())
    return [
        ("`train`: parameters, gradient, momentum, exchange; buffers", 4 * vector + buffers),
        ("`star` beside that: the point on the line, the present source and the next", 3 * vector),
    ]


def page(here: Machine, cluster: Machine, network: FlatNetwork, exchange: Exchange) -> str:
    """The whole page."""
    steps = -(-IMAGES // (BATCH * RANKS[-1]))
    restarts, widest = 100, max(WAVES)
    sizes = wave_sizes(restarts)
    rounds = sum(-(-wave // widest) for wave in sizes)
    lines = [
        "# Scaling", "",
        "Made by `python tests/benchmarks/scaling.py`; ResNet-50 on ImageNet, "
        f"{BATCH} images a rank and step, float32.", "",
        "## What is sent", "",
        f"A step is one all-reduce of {exchange.bytes:,} bytes ({exchange.bytes / MB:.1f} MB): "
        f"{network.parameters.numel():,} gradients,",
        "which of them there are, the running statistics, loss, correct predictions, stop signal. On a ring each rank",
        "sends 2 (R - 1) / R times that. An epoch sends in addition what the alignment found, 8 bytes a permuted",
        "unit and source.",
        "A run that ranks share is written by rank 0 alone. `torchrun` takes `--star` for an option of its own that it",
        "begins: two dashes before the program's name, `torchrun -m -- starcli bma --star ...`, keep it to ours.", "",
        "## What a rank holds", "",
        *(f"- {what}: {size / MB:,.0f} MB" for what, size in held(network)),
        "- beside activations; the sources stay in their files however many they are", "",
        "## Expected efficiency", "",
        "Images a second against as many single ranks; batches grow with the ranks. A step takes", "",
        "    compute + packing + 2 (R - 1) / R * bytes / bandwidth + 2 (R - 1) * latency", "",
        "since nothing overlaps, in the program neither.", "",
        *table(here, exchange.bytes),
        *table(cluster, exchange.bytes),
        "## Beyond a step", "",
        f"- {SOURCES} sources are aligned in the time of ceil({SOURCES} / R): 7 on 8 ranks, one on 64 and more.",
        f"- The {sum(sizes)} detours of `align --restarts {restarts}` begin in waves of up to {widest}: "
        f"{widest} ranks",
        f"  take the time of {rounds}. Several models are dealt out to the ranks.",
        f"- On {RANKS[-1]} ranks an epoch has {steps} steps. Validation, final scores and BatchNorm statistics are",
        "  shared.",
        "- Each rank draws its own source and t, so that the gradient's variance over draws falls as 1 / R.",
        "- `--sync-batchnorm` takes statistics over all ranks, three small all-reduces a BatchNorm layer and step;",
        "  the ranks of a star then share one source and t.",
        "- Reading the data is not in these figures: each rank decodes its own part of a batch only.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measure, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of everything")
    parser.add_argument("--gpu-images", type=float, default=400, help="images a second of a GPU in float32 (assumed)")
    parser.add_argument("--gpu-bandwidth", type=float, default=20e9, help="bytes a second between GPUs (assumed)")
    parser.add_argument("--gpu-latency", type=float, default=10e-6, help="seconds a link (assumed)")
    parser.add_argument("--gpu-memory", type=float, default=1e12, help="bytes a second of its memory (assumed)")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[2] / "docs" / "scaling.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 1 if options.quick else 5
    network = FlatNetwork(
        build_network("torchvision:resnet50", trusted=True, num_classes=1000), memory_format=torch.channels_last
    )
    parts = list(network.views(network.parameters).values())
    exchange = Exchange(parts, list(network.buffers.values()))
    gradients: list[Tensor | None] = [torch.randn_like(part) for part in parts]
    zero = torch.zeros(())
    pack = median(lambda: exchange(gradients, zero, zero, 0, 1.0), rounds)
    bandwidth, latency = links(exchange.vector.numel(), 5 * rounds)
    here = Machine(
        "This machine: one core a rank, gloo over the loopback (measured)",
        image_seconds(network, 2 if options.quick else 8, rounds), pack, bandwidth, latency,
    )  # fmt: skip
    cluster = Machine(
        "A GPU a rank, nccl (assumed: see `--help` for the constants)", 1 / options.gpu_images,
        4 * exchange.bytes / options.gpu_memory, options.gpu_bandwidth, options.gpu_latency,
    )  # fmt: skip
    options.output.write_text(page(here, cluster, network, exchange))


if __name__ == "__main__":
    main()
