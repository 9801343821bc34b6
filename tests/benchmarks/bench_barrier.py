"""Time of a barrier with re-estimated statistics, against the published loop and against bare forward passes.

    python tests/benchmarks/bench_barrier.py [--images 2000] [--points 5] [--rounds 5] [--json FILE]

One thread, processor time (what a busy machine gives to others does not count). Every round runs all contestants one
after the other, so that a noisy machine hurts all alike;
ratios are paired within the round, and their median and extremes are printed. The network is the small ResNet of width
16 on random 3 x 32 x 32 images. The loop is the published one: a DataLoader, a deep copy of a model for each point, its
state dict interpolated tensor by tensor, one train-mode pass for the statistics, then train and test evaluated, ends
included, in a process of its own, since ours change how freed memory is kept; its statistics are a cumulative average
with a reset, so that both measure the same losses.
"""

import argparse
import copy
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from starcli import models
from starcli.data import MemorySplit, Normalisation
from starcli.evaluation import Evaluator
from starcli.memory import keep_freed_memory
from starcli.models.flat import FlatNetwork
from starcli.path import Barrier, barrier, grid

CPU = torch.device("cpu")
BARE_BATCHES = (32, 64, 128, 256)
NAMES = ("loop", "fp32", "bf16", *(f"bare forward, batch {size}" for size in BARE_BATCHES))
SHAPE, CLASSES, WIDTH, LOOP_BATCH = (3, 32, 32), 10, 16, 128


def build(seed: int | None = None) -> nn.Module:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return models.build("resnet", generator=generator, width=WIDTH, in_channels=3, num_classes=CLASSES)


def split_of(count: int, seed: int) -> MemorySplit:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return MemorySplit(raw, torch.randint(CLASSES, (count,), generator=generator), Normalisation(255, (0.5,), (0.3,)))


def workspace(train: MemorySplit, test: MemorySplit, precision: str) -> Any:
    dataset = SimpleNamespace(input_shape=SHAPE, num_classes=CLASSES, train=train, test=test)
    return SimpleNamespace(
        dataset=dataset, device=CPU, precision=precision, network=lambda seed=None: FlatNetwork(build(seed))
    )


def published_loop(a: dict[str, Tensor], b: dict[str, Tensor], train: Any, test: Any, points: int) -> list[float]:
    """Train losses along the path."""
    losses = []
    for t in grid(points):
        model = copy.deepcopy(PROTOTYPE)
        model.load_state_dict({k: (1 - t) * a[k] + t * b[k] if a[k].is_floating_point() else a[k] for k in a})
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        model.train()
        with torch.no_grad():
            for inputs, _ in train:
                model(inputs)
        model.eval()
        for loader in (train, test):
            total, correct, count = 0.0, 0, 0
            with torch.no_grad():
                for inputs, labels in loader:
                    outputs = model(inputs)
                    total += nn.functional.cross_entropy(outputs, labels, reduction="sum").item()
                    correct += int((outputs.argmax(1) == labels).sum())
                    count += len(labels)
            if loader is train:
                losses.append(total / count)
    return losses


def bare_passes(network: nn.Module, batches: list[Tensor], passes: int) -> None:
    """As many forward passes as a barrier needs, and nothing else."""
    network.eval()
    with torch.inference_mode():
        for _ in range(passes):
            for inputs in batches:
                network(inputs)


def loader_of(split: MemorySplit) -> DataLoader[Any]:
    inputs, labels = next(split.batches(len(split)))
    return DataLoader(TensorDataset(inputs, labels), batch_size=LOOP_BATCH)


def contestants(images: int, points: int) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """What is timed, and where each leaves its losses."""
    train, test = split_of(images, 0), split_of(images // 5, 1)
    a, b = build(0).state_dict(), build(1).state_dict()
    loaders = [loader_of(split) for split in (train, test)]
    evaluators = {p: Evaluator(workspace(train, test, p)) for p in ("fp32", "bf16")}
    results: dict[str, Any] = {}

    def ours(precision: str) -> None:
        results[precision] = barrier(evaluators[precision], a, b, points=points)

    def loop() -> None:
        results["loop"] = published_loop(a, b, *loaders, points)

    def bare(size: int) -> None:
        # statistics and scores of the training split, scores of the test split: 2.2 times the images
        for split, passes in ((train, 2 * points), (test, points)):
            bare_passes(NETWORK, [x for x, _ in split.batches(size, channels_last=True)], passes)

    runs: dict[str, Callable[[], Any]] = {"loop": loop, "fp32": lambda: ours("fp32"), "bf16": lambda: ours("bf16")}
    for size in BARE_BATCHES:
        runs[f"bare forward, batch {size}"] = lambda size=size: bare(size)
    return runs, results


def serve(pipe: Connection, images: int, points: int, keeps_memory: bool) -> None:
    """A process that runs the contestants it is asked for: name in, seconds and result out."""
    torch.set_num_threads(1)
    if keeps_memory:
        keep_freed_memory()
    runs, results = contestants(images, points)
    while (name := pipe.recv()) is not None:
        start = time.process_time()
        runs[name]()
        pipe.send((time.process_time() - start, results.get(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes = []
    for keeps_memory in (False, True):
        ours, theirs = context.Pipe()
        work = (theirs, options.images, options.points, keeps_memory)
        context.Process(target=serve, args=work, daemon=True).start()
        pipes.append(ours)
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    results: dict[str, Any] = {}
    for measured in range(-1, options.rounds):  # the first round warms up
        for name in NAMES:
            pipe = pipes[name != "loop"]
            pipe.send(name)
            taken, results[name] = pipe.recv()
            if measured >= 0:
                seconds[name].append(taken)
    for pipe in pipes:
        pipe.send(None)
    report(seconds, results, options.json)


def report(seconds: dict[str, list[float]], results: dict[str, Any], path: Path | None) -> None:
    """A table of medians and paired speed-ups over the loop, and the differences between the losses."""
    print(f"{'':28}{'seconds':>9}{'times faster than the loop (median, least, most)':>52}")
    rows = {}
    for name, times in seconds.items():
        ratios = sorted(loop / own for loop, own in zip(seconds["loop"], times, strict=True))
        rows[name] = {"seconds": statistics.median(times), "faster": statistics.median(ratios), "all": ratios}
        print(f"{name:28}{statistics.median(times):9.2f}{statistics.median(ratios):38.2f}", end="")
        print(f"{ratios[0]:7.2f}{ratios[-1]:7.2f}")
    exact: Barrier = results["fp32"]
    differences = {
        "fp32 against the loop": max(abs(x - y) for x, y in zip(exact.train.loss, results["loop"], strict=True)),
        "bf16 against fp32": max(abs(x - y) for x, y in zip(exact.train.loss, results["bf16"].train.loss, strict=True)),
        "bf16 against fp32, barrier": abs(exact.train.loss_barrier - results["bf16"].train.loss_barrier),
    }
    for name, value in differences.items():
        print(f"largest difference of the train loss, {name}: {value:.1e}")
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"CPU: {capability}, bf16 instructions: {torch.cpu._is_avx512_bf16_supported()}")
    if path is not None:
        path.write_text(json.dumps({"rows": rows, "differences": differences, "cpu": capability}, indent=1))


PROTOTYPE = build(0)
NETWORK = build(0)

if __name__ == "__main__":
    main()
