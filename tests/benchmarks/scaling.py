"""What training costs on many ranks: bytes a step, bytes a rank, expected efficiency. Writes docs/scaling.md.

    python tests/benchmarks/scaling.py [--quick] [-o docs/scaling.md]

Sizes are those of the very objects that training makes. Times of this machine are measured (medians of CPU seconds, one
thread; two processes for the all-reduce); those of a GPU cluster are assumptions and can be set. The model is the usual
one of ring all-reduces, sent bucket by bucket while the backward pass goes on as `starcli.training.exchange.Exchange`
does: what is not hidden behind it is added to the step. Two ranks of this machine are measured too, with and without
that, on the whole steps of a ResNet-18.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from starcli.alignment.matching.restarts import WAVES, wave_sizes
from starcli.models.build import build_network
from starcli.models.flat_network import FlatNetwork
from starcli.runtime import distributed
from starcli.training.exchange import Exchange

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

    def ring(self, ranks: int, sent: int, buckets: int) -> float:
        """2 (R - 1) / R * bytes / bandwidth + 2 (R - 1) * latency for each bucket."""
        return 2 * (ranks - 1) / ranks * sent / self.bandwidth + buckets * 2 * (ranks - 1) * self.latency

    def step(self, ranks: int, exchange: Exchange) -> float:
        """compute + pack + what of the rings is not hidden.

        The last bucket's ring is not, nor what the others take longer than the backward pass, 2/3 of computing.
        """
        if ranks == 1:
            return BATCH * self.image
        *early, last = [each.piece.numel() * each.piece.element_size() for each in exchange.buckets]
        late = max(0.0, self.ring(ranks, sum(early), len(early)) - 2 / 3 * BATCH * self.image)
        return BATCH * self.image + self.pack + self.ring(ranks, last, 1) + late


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


def step_seconds(
    rank: int, port: int, ways: tuple[str, ...], rounds: int, found: "multiprocessing.Queue[float]"
) -> None:
    """One of two ranks: wall seconds of a step of a ResNet-18, each way."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    network = FlatNetwork(build_network("resnet18"), memory_format=torch.channels_last)
    parameters = [dict(network.network.named_parameters())[slot.name] for slot in network.layout]
    inputs = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels, zero, times = torch.arange(BATCH) % 10, torch.zeros(()), {way: [] for way in ways}
    with distributed.group():
        exchange = Exchange(list(network.views(network.parameters).values()), list(network.buffers.values()))
        for number in range((1 + rounds) * len(ways)):
            way = ways[number % len(ways)]
            distributed.sum_(torch.zeros(1))  # both begin at once
            begin = time.perf_counter()
            network.network.zero_grad(set_to_none=True)
            exchange.begin(1)
            with exchange.watching(parameters if way == "while backward goes on" else []):
                torch.nn.functional.cross_entropy(network.network(inputs), labels).backward()  # type: ignore[no-untyped-call]
                if way != "none":
                    exchange([each.grad for each in parameters], zero, zero, 0, 0.5)
            if number >= len(ways):
                times[way].append(time.perf_counter() - begin)
        if rank == 0:
            for way in ways:
                found.put(statistics.median(times[way]))


def by_two(work: Callable[..., None], what: tuple[object, ...], rounds: int, count: int) -> list[float]:
    """What `work(rank, port, what, rounds, queue)` finds by two processes that share a port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    ranks = [context.Process(target=work, args=(rank, port, what, rounds, found)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    results = [found.get(timeout=600) for _ in range(count)]
    for process in ranks:
        process.join()
    return results


def links(size: int, rounds: int) -> tuple[float, float]:
    """Bandwidth in bytes a second and latency in seconds between two processes here, by gloo."""
    small, large = by_two(all_reduce_seconds, (1, size), rounds, 2)
    return 4 * size / (large - small), small / 2


WAYS = ("none", "after the backward pass", "while backward goes on")
"""When two ranks exchange, of the whole steps that are measured."""


def two_ranks(rounds: int) -> list[str]:
    """Whole steps of two ranks that share this machine."""
    seconds = dict(zip(WAYS, by_two(step_seconds, WAYS, rounds, len(WAYS)), strict=True))
    lines = [
        f"Whole steps of two ranks on this machine, a core each: ResNet-18, {BATCH} images of 3x32x32 a rank",
        f"(measured, medians of {rounds} in turn):",
        "", "| gradients are sent | a step | efficiency |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| {way} | {took:.3g} s | {seconds['none'] / took:.1%} |" for way, took in seconds.items()]
    lines += [
        "",
        "Where all cores compute, as here, gloo takes their time whenever it is that gradients are sent: sending",
    ]
    lines += ["early is for links that work by themselves."]
    return [*lines, ""]


def table(machine: Machine, exchange: Exchange) -> list[str]:
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
        step = machine.step(ranks, exchange)
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


def page(here: Machine, cluster: Machine, network: FlatNetwork, exchange: Exchange, measured: Sequence[str]) -> str:
    """The whole page."""
    steps = -(-IMAGES // (BATCH * RANKS[-1]))
    restarts, widest = 100, max(WAVES)
    sizes = wave_sizes(restarts)
    rounds = sum(-(-wave // widest) for wave in sizes)
    lines = [
        "# Scaling", "",
        "What many ranks (GPUs, machines) cost and gain: what is sent in a step, what a rank holds, which efficiency",
        "to expect. How to run them: [clusters and GPUs](how-to/cluster-and-gpu.md).", "",
        "Made by `python tests/benchmarks/scaling.py`; ResNet-50 on ImageNet, "
        f"{BATCH} images a rank and step, float32.", "",
        "## What is sent", "",
        f"Each step sends {exchange.vector.nbytes:,} bytes ({exchange.vector.nbytes / MB:.1f} MB): "
        f"{network.parameters.numel():,}",
        "gradients, and beside them which gradients there are, the running statistics, the loss, the number of correct",
        f"predictions, and whether to stop. They go in {len(exchange.buckets)} buckets of at least "
        f"{Exchange.BUCKET / 2**20:.0f} MiB, from the last layer to the first,",
        "each as soon as the backward pass is done with its gradients; a smaller network takes one all-reduce a step.",
        "On a ring each rank sends 2 (R - 1) / R times these bytes. An epoch of a star also sends what the alignment",
        "found, 8 bytes for each permuted unit of each source.", "",
        "## What a rank holds", "",
        *(f"- {what}: {size / MB:,.0f} MB" for what, size in held(network)),
        "- activations come on top; sources stay in their files, however many they are", "",
        "## Expected efficiency", "",
        "Images a second against as many single ranks; batches grow with the ranks. A step takes", "",
        "    compute + packing + ring(last bucket) + max(0, ring(other buckets) - 2/3 compute),",
        "    ring(bytes) = 2 (R - 1) / R * bytes / bandwidth + 2 (R - 1) * latency for each bucket,", "",
        "where 2/3 of computing is the backward pass. With `--sync-batchnorm`, which exchanges within that pass,",
        "gradients are sent after it.", "",
        *measured,
        *table(here, exchange),
        *table(cluster, exchange),
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
        4 * exchange.vector.nbytes / options.gpu_memory, options.gpu_bandwidth, options.gpu_latency,
    )  # fmt: skip
    options.output.write_text(page(here, cluster, network, exchange, two_ranks(2 * rounds + 1)))


if __name__ == "__main__":
    main()
