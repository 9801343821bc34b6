"""Time of a barrier with re-estimated statistics, against the published loop and against bare forward passes.

    python tests/benchmarks/bench_barrier.py [--quick] [--images 1000] [--points 5] [--rounds 5] [--json FILE]

One thread, processor time (what a busy machine gives to others does not count). Every round runs all contestants one
after the other, so that a noisy machine hurts all alike;
ratios are paired within the round. The network is the small ResNet of width
16 on random 3 x 32 x 32 images. The loop is the published one: a DataLoader, a deep copy of a model for each point, its
state dict interpolated tensor by tensor, one train-mode pass for the statistics, then train and test evaluated, ends
included, in a process of its own, since ours change how freed memory is kept; its statistics are a cumulative average
with a reset, so that both measure the same losses.
"""

import copy
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch
from rows import Row, parser, save, show
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from starcli.barriers.line_barrier import grid, measure_line
from starcli.data.dataset import Dataset
from starcli.data.normalisation import Normalisation
from starcli.data.splits import MemorySplit
from starcli.evaluation.evaluator import Evaluator
from starcli.models.build import build_network
from starcli.models.flat_network import FlatNetwork
from starcli.runtime.memory import keep_freed_memory

CPU = torch.device("cpu")
BARE_BATCHES = (64, 128)
"""32 and 256 were slower than the better of these, on both processors tried."""
BARE = ("bare forward", "bare forward as the statistics need it")
NAMES = ("loop", "fp32", "bf16", *(f"{kind}, batch {size}" for kind in BARE for size in BARE_BATCHES))
SHAPE, CLASSES, WIDTH, LOOP_BATCH = (3, 32, 32), 10, 16, 128


def build(seed: int | None = None) -> nn.Module:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return build_network("resnet", generator=generator, width=WIDTH, in_channels=3, num_classes=CLASSES)


def split_of(count: int, seed: int) -> MemorySplit:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return MemorySplit(raw, torch.randint(CLASSES, (count,), generator=generator), Normalisation(255, (0.5,), (0.3,)))


def workspace(train: MemorySplit, test: MemorySplit, precision: str) -> Any:
    dataset = Dataset(
        name="random", num_classes=CLASSES, input_shape=SHAPE, mean=(0.5,), std=(0.3,), fingerprint="", test=test,
        train=train, validation=None, augmentation=(), val_fraction=0.0, split_seed=0, limit=None,
    )  # fmt: skip
    return SimpleNamespace(
        average_buffers=False,
        task_name="classes",
        dataset=dataset,
        device=CPU,
        precision=precision,
        network=lambda seed=None: FlatNetwork(build(seed)),
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


def bare_passes(network: nn.Module, batches: list[Tensor], passes: int, *, training: bool = False) -> None:
    """So many forward passes and nothing else; in training mode BatchNorm computes the batches' statistics."""
    network.train(training)
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
        results[precision] = measure_line(evaluators[precision], a, b, points=points)

    def loop() -> None:
        results["loop"] = published_loop(a, b, *loaders, points)

    inputs = {
        (split, size): [x for x, _ in split.batches(size, channels_last=True)]
        for split in (train, test)
        for size in BARE_BATCHES
    }

    def bare(size: int, training: bool) -> None:
        # statistics and scores of the training split, scores of the test split: 2.2 times the images
        bare_passes(NETWORK, inputs[train, size], points, training=training)
        bare_passes(NETWORK, inputs[train, size], points)
        bare_passes(NETWORK, inputs[test, size], points)

    runs: dict[str, Callable[[], Any]] = {"loop": loop, "fp32": lambda: ours("fp32"), "bf16": lambda: ours("bf16")}
    for size in BARE_BATCHES:
        runs[f"bare forward, batch {size}"] = lambda size=size: bare(size, False)
        runs[f"bare forward as the statistics need it, batch {size}"] = lambda size=size: bare(size, True)
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
    """Measure and print."""
    options_of = parser(__doc__)
    options_of.add_argument("--images", type=int, default=1000)
    options_of.add_argument("--points", type=int, default=5)
    options_of.add_argument("--rounds", type=int, default=5)
    options = options_of.parse_args()
    if options.quick:
        options.images, options.points, options.rounds = 50, 3, 1
    context = multiprocessing.get_context("fork" if options.quick else "spawn")  # which imports torch once more
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
    what = f"barrier, {options.points} points, resnet of width {WIDTH}, {options.images:,} images"
    save(options.json, [show(row) for row in rows(what, seconds, results)])


def rows(what: str, seconds: dict[str, list[float]], results: dict[str, Any]) -> list[Row]:
    """Both precisions against the loop, with their differences, and float32 against the best of the bare passes."""
    exact, coarse = results["fp32"], results["bf16"]
    losses = [exact.curves["train"].loss, results["loop"], coarse.curves["train"].loss]
    off_loop, off_exact = (max(abs(x - y) for x, y in zip(losses[0], other, strict=True)) for other in losses[1:])
    off_barrier = abs(exact.curves["train"].loss_barrier - coarse.curves["train"].loss_barrier)
    instructions = "with" if torch.cpu._is_avx512_bf16_supported() else "without"
    found = []
    for name, target, note in (
        ("fp32", "1.6", f"largest difference of the train loss {off_loop:.0e}"),
        (
            "bf16",
            "2.5",
            f"a CPU {instructions} bf16 instructions; from fp32: loss {off_exact:.0e}, barrier {off_barrier:.0e}",
        ),
    ):
        found.append(
            Row(f"{what}, {name}", "the published loop", seconds[name], seconds["loop"], target=target, note=note)
        )
    for kind in BARE:
        _, size = min((sum(seconds[f"{kind}, batch {size}"]), size) for size in BARE_BATCHES)
        against = f"{kind}, batch {size}"
        found.append(Row(f"{what}, fp32", against, seconds["fp32"], seconds[against], kind="price", target="1.1"))
    return found


PROTOTYPE = build(0)
NETWORK = build(0)

if __name__ == "__main__":
    main()
