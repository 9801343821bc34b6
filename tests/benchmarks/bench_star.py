"""A star step against a plain training step, and a whole star run against plain training of as many epochs.

    python tests/benchmarks/bench_star.py [--quick] [--json FILE]

Both step kinds run interleaved in one process, on random data; times are CPU seconds of the process with one thread,
which a busy machine disturbs less than the clock on the wall. Medians and quartiles over steps.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from training_support import Small, Stopping, small

from starcli import models
from starcli.data import Dataset, MemorySplit, Normalisation
from starcli.star import Source, SourceBank, starlight, uniform
from starcli.star.objective import HeldOut, OnLines, Settings
from starcli.training.engine import Run
from starcli.training.loop import Plain, train
from starcli.training.pieces import cut
from starcli.training.recipe import Recipe

NETWORKS: dict[str, tuple[str, tuple[int, ...], int, dict[str, Any]]] = {
    "mlp 784-512-10": ("mlp", (1, 28, 28), 128, {"hidden_dim": 512, "batch_norm": "none"}),
    "resnet, 8x8": ("resnet", (1, 8, 8), 128, {}),
    "wrn-22-1": ("wrn", (3, 32, 32), 64, {"depth": 22}),
    "resnet18-cifar": ("resnet18-cifar", (3, 32, 32), 32, {}),
    "vit": ("vit", (1, 28, 28), 64, {}),
}
QUICK = ("mlp 784-512-10", "resnet, 8x8")


def random_workspace(name: str, shape: tuple[int, ...], examples: int, arguments: dict[str, Any]) -> Small:
    """A workspace of random inputs and labels."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> MemorySplit:
        inputs = torch.randn(count, *shape, generator=generator)
        labels = torch.randint(10, (count,), generator=generator)
        return MemorySplit(inputs, labels, Normalisation(1.0, (0.0,), (1.0,)))

    dataset = Dataset(
        name="random", num_classes=10, input_shape=shape, mean=(0.0,), std=(1.0,), fingerprint="", augmentation=(),
        train=split(examples), validation=None, test=split(2), val_fraction=0.0, split_seed=0, limit=None,
    )  # fmt: skip
    return Small(name, models.complete(name, arguments, input_shape=shape, num_classes=10), dataset)


def steps(label: str, rounds: int) -> dict[str, Any]:
    """Times of single steps of both kinds, as `Run` takes them."""
    name, shape, batch_size, arguments = NETWORKS[label]
    workspace = random_workspace(name, shape, 4 * batch_size, arguments)
    recipe = Recipe(epochs=1, batch_size=batch_size, lr=0.01)
    sources = [Source(str(seed), workspace.network(seed).state) for seed in (1, 2)]
    settings = Settings(0.0, False, uniform, 1, None, 1, 1)
    bank = SourceBank(sources, workspace.network(0))
    objectives = {
        "plain": Plain(workspace, workspace.network(0), recipe),  # type: ignore[arg-type]
        "star": OnLines(workspace, bank, recipe, 0, settings, HeldOut((), 1), Stopping()),  # type: ignore[arg-type]
    }
    runs = {kind: Run(objective, workspace.dataset.train, recipe, 0) for kind, objective in objectives.items()}
    for objective in objectives.values():
        objective.begin_epoch(0)
    batch = next(workspace.dataset.train.batches(batch_size, channels_last=True))
    [piece] = cut(batch_size, 1)
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(rounds):
        for kind, run in runs.items():
            run.position.step = run.checked = 0
            times[kind].append(timed(lambda run=run: run._step([(*batch, piece)])))  # type: ignore[misc]
    ratios = [star / plain for star, plain in zip(times["star"], times["plain"], strict=True)]
    return {"what": f"step, {label}, batch {batch_size}"} | figures(times["plain"], times["star"], ratios)


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of `work`."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def figures(plain: list[float], star: list[float], ratios: list[float]) -> dict[str, float]:
    """Medians, and quartiles of the paired ratios."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "plain_ms": 1e3 * statistics.median(plain),
        "star_ms": 1e3 * statistics.median(star),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
    }


def whole(sources: int, epochs: int, repeats: int) -> dict[str, Any]:
    """A star run on the digits, alignment and all, against `train`."""
    workspace = small("resnet", limit=None)
    recipe = Recipe(epochs=epochs)
    found = [train(workspace, recipe.override(epochs=2), seed).tensors for seed in range(sources)]  # type: ignore[arg-type]
    models_ = [Source(str(number), lambda tensors=tensors: tensors) for number, tensors in enumerate(found)]  # type: ignore[misc]
    plain, star = [], []
    for seed in range(repeats):
        plain.append(timed(lambda seed=seed: train(workspace, recipe, seed)))  # type: ignore[misc,arg-type]
        star.append(timed(lambda seed=seed: starlight(workspace, models_, recipe, seed)))  # type: ignore[misc,arg-type]
    ratios = [b / a for a, b in zip(plain, star, strict=True)]
    return {"what": f"run of {epochs} epochs, small resnet, {sources} sources"} | figures(plain, star, ratios)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small networks, few steps")
    parser.add_argument("--json", type=Path, help="keep the rows in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for label in QUICK if options.quick else NETWORKS:
        heavy = label in ("wrn-22-1", "resnet18-cifar", "vit")
        rows.append(steps(label, 8 if heavy else 100))
        show(rows[-1])
    for sources in (5,) if options.quick else (5, 50):
        rows.append(whole(sources, 10, 3))
        show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    print(
        f"{row['what']:48} plain {row['plain_ms']:9.2f} ms   star {row['star_ms']:9.2f} ms   "
        f"ratio {row['ratio']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
