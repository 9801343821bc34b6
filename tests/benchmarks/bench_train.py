"""`train` against the plain PyTorch loop (DataLoader, torchvision transforms), and stacked against one after the other.

    python tests/benchmarks/bench_train.py [--quick] [--json FILE]

One thread, processor time (what a busy machine gives to others does not count), both ways in turn. The plain loop is
what everyone writes: transforms for each image, `loss.item()`; its loader has no workers, whose time would not be seen.
It runs in a process of its own, since ours change how freed memory is kept.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from rows import Row, compare, parser, save, seconds, show
from support.training import Small, small

from starcli.data.dataset import Dataset
from starcli.data.normalisation import Normalisation
from starcli.data.splits import MemorySplit
from starcli.models.build import build_network, complete_arguments
from starcli.recipes.recipe import Recipe
from starcli.runtime.memory import keep_freed_memory
from starcli.training.run import TrainingRun
from starcli.training.stacked import train_stacked
from starcli.training.train import PlainObjective, train_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENTATION = ("pad-crop", "flip")


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images (count, 3, 32, 32) and labels."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    return raw, torch.randint(10, (count,), generator=generator)


def our_way(name: str, arguments: dict[str, Any], recipe: Recipe, count: int, precision: str) -> Callable[[], object]:
    """One epoch by `Run`."""
    raw, labels = images(count)
    split = MemorySplit(raw, labels, Normalisation(255.0, MEAN, STD))
    dataset = Dataset(
        name="random", num_classes=10, input_shape=(3, 32, 32), mean=MEAN, std=STD, fingerprint="", test=split,
        train=split, validation=None, augmentation=AUGMENTATION, val_fraction=0.0, split_seed=0, limit=None,
    )  # fmt: skip
    complete = complete_arguments(name, arguments, input_shape=(3, 32, 32), num_classes=10)
    workspace = Small(name, complete, dataset, precision=precision)

    def work() -> None:
        objective = PlainObjective(workspace, workspace.network(0), recipe)  # type: ignore[arg-type]
        TrainingRun(objective, dataset, recipe, 0).run()

    return work


def plain_epoch(name: str, arguments: dict[str, Any], recipe: Recipe, count: int) -> None:
    """The same epoch as most people write it."""
    from PIL import Image
    from torch.utils.data import DataLoader
    from torch.utils.data import Dataset as Indexed
    from torchvision import transforms

    raw, labels = images(count)
    arrays: np.ndarray[Any, Any] = raw.permute(0, 2, 3, 1).numpy()
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    class Images(Indexed[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return transform(Image.fromarray(arrays[index])), int(labels[index])

    network = build_network(name, **complete_arguments(name, arguments, input_shape=(3, 32, 32), num_classes=10))
    optimizer = torch.optim.SGD(
        network.parameters(), lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    loader = DataLoader(Images(), batch_size=recipe.batch_size, shuffle=True)
    for _ in range(recipe.epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(inputs), targets)
            loss.backward()
            optimizer.step()
            loss.item()


def plain_seconds(*arguments: Any) -> float:
    """Seconds of `plain_epoch` in the process that this is called in."""
    torch.set_num_threads(1)
    return seconds(lambda: plain_epoch(*arguments), time.process_time)


def epochs(quick: bool) -> list[Row]:
    """An epoch of two networks in both precisions, ours and the plain one in turn."""
    repeats, count = (1, 500) if quick else (5, 5_000)
    recipe = Recipe(epochs=1)
    rows = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for name, arguments in (("resnet", {"width": 8}), ("resnet18-cifar", {"width": 16})):
            theirs = [name, arguments, recipe, count]
            ways = {precision: our_way(name, arguments, recipe, count, precision) for precision in ("fp32", "bf16")}
            times: dict[str, list[float]] = {"plain": [], **{precision: [] for precision in ways}}
            for repeat in range(-1, repeats):  # the first warms up
                found = {"plain": pool.submit(plain_seconds, *theirs).result()}
                found |= {precision: seconds(way, time.process_time) for precision, way in ways.items()}
                for key, value in found.items() if repeat >= 0 or quick else ():
                    times[key].append(value)
            for precision in ways:
                what = f"train, an epoch of {name} of width {arguments['width']}, {count:,} images, {precision}"
                against = "DataLoader, torchvision transforms"
                rows.append(show(Row(what, against, times[precision], times["plain"], target="2")))
    return rows


def stacked(seeds: int, epochs: int, hidden: int, repeats: int) -> Row:
    """Many MLPs on the digits."""
    workspace, recipe = small("mlp", limit=None, hidden_dim=hidden), Recipe(epochs=epochs)
    times = compare(
        lambda: train_stacked(workspace, recipe, range(seeds)),  # type: ignore[arg-type]
        lambda: [train_network(workspace, recipe, seed) for seed in range(seeds)],  # type: ignore[arg-type]
        repeats,
        time.process_time,
    )
    what = f"train --stacked, {seeds} MLPs 64-{hidden}-10, {epochs} epochs"
    return Row(what, "one after the other", **times, target="10")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    keep_freed_memory()  # as every command does
    torch.set_num_threads(1)
    rows = epochs(options.quick)
    rows.append(show(stacked(*(20, 5, 32, 1) if options.quick else (100, 25, 32, 3))))
    save(options.json, rows)


if __name__ == "__main__":
    main()
