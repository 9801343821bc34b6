"""A star step against a plain training step, and a whole star run against plain training of as many epochs.

    python tests/benchmarks/bench_star.py [--quick] [--json FILE]

Both step kinds run interleaved in one process, on random data; times are CPU seconds of the process with one thread,
which a busy machine disturbs less than the clock on the wall. Medians and quartiles over steps.
"""

import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from bench_matching import train as train_briefly
from rows import Row, compare, parser, save, show
from support.training import Small, Stopping, search_of, small

from starcli.alignment.alignment import Alignment
from starcli.data.dataset import Dataset
from starcli.data.normalisation import Normalisation
from starcli.data.splits import MemorySplit
from starcli.models.build import complete_arguments
from starcli.recipes.recipe import Recipe
from starcli.runtime.memory import keep_freed_memory
from starcli.runtime.progress import Progress
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Source, SourceBank
from starcli.star.starlight import starlight
from starcli.star.starlight_step import OnLines
from starcli.training.batch_pieces import cut_batch
from starcli.training.run import TrainingRun
from starcli.training.train import PlainObjective, train_network

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
    return Small(name, complete_arguments(name, arguments, input_shape=shape, num_classes=10), dataset)


def steps(label: str, rounds: int) -> Row:
    """Times of single steps of both kinds, as `Run` takes them."""
    name, shape, batch_size, arguments = NETWORKS[label]
    workspace = random_workspace(name, shape, 4 * batch_size, arguments)
    recipe = Recipe(epochs=1, batch_size=batch_size, lr=0.01)
    sources = [Source(str(seed), workspace.network(seed).state) for seed in (1, 2)]
    settings = StarSettings(alignment=Alignment(None), draws_per_step=1)
    bank = SourceBank(sources, workspace.network(0))
    plain = PlainObjective(workspace, workspace.network(0), recipe)  # type: ignore[arg-type]
    star = OnLines(workspace, bank, recipe, 0, settings, (), Stopping())  # type: ignore[arg-type]
    batch = next(workspace.dataset.train.batches(batch_size, channels_last=True))
    [piece] = cut_batch(batch_size, 1)

    def stepper(objective: PlainObjective) -> Callable[[], object]:
        run = TrainingRun(objective, workspace.dataset, recipe, 0)
        objective.begin_epoch(0)

        def step() -> None:
            run.position.step = run.checked = 0
            run._step([(*batch, piece)])

        step()
        return step

    found = compare(stepper(star), stepper(plain), rounds, time.process_time)
    target = "1.10" if name == "mlp" else "1.02"
    return Row(f"a star step, {label}, batch {batch_size}", "a plain step", **found, kind="price", target=target)


class Epochs(Progress):
    """Notes when epochs end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def record(self, row: Mapping[str, Any]) -> None:
        self.ends.append(time.process_time())

    def seconds(self) -> list[float]:
        """Of each epoch but the first."""
        return [later - earlier for earlier, later in pairwise(self.ends)]


def whole(
    workspace: Small, states: list[dict[str, torch.Tensor]], recipe: Recipe, repeats: int, what: str
) -> tuple[Row, Row]:
    """A star run, alignment and all, against `train`; and its later epochs, which begin with a realignment."""
    ours, theirs = Epochs(), Epochs()
    search = search_of(states, recipe, StarSettings(alignment=Alignment("weight")))
    times = compare(
        lambda: starlight(workspace, search, progress=ours),  # type: ignore[arg-type]
        lambda: train_network(workspace, recipe, 0, progress=theirs),  # type: ignore[arg-type]
        repeats,
        time.process_time,
    )
    of = f"of {what}, {len(states)} sources"
    run = Row(
        f"a star run, {recipe.epochs} epochs {of}", "a train run of as many epochs", **times, kind="price", target="1.1"
    )
    against = "an epoch of a train run"
    later = Row(f"an epoch of it, realignment and all, {of}", against, ours.seconds(), theirs.seconds(), kind="price")
    return run, later


def on_digits(sources: int, epochs: int, repeats: int) -> Row:
    """Epochs of 12 steps: alignment at the beginning of each tells."""
    workspace = small("resnet", limit=None)
    recipe = Recipe(epochs=epochs)
    states = [train_network(workspace, recipe.override(epochs=2), seed).tensors for seed in range(sources)]  # type: ignore[arg-type]
    return whole(workspace, states, recipe, repeats, "1,437 digits, small resnet")[0]


def at_size(sources: int, epochs: int) -> tuple[Row, Row]:
    """Epochs as long as CIFAR's."""
    workspace = random_workspace("resnet18-cifar", (3, 32, 32), 50_000, {"width": 16})
    states = [train_briefly(workspace.network(seed).network, 32, 5, seed) for seed in range(1, sources + 1)]
    recipe = Recipe(epochs=epochs, batch_size=128, lr=0.02)
    return whole(workspace, states, recipe, 1, "50,000 images of 32x32, ResNet-18 of width 16")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    keep_freed_memory()  # as every command does
    torch.set_num_threads(1)
    rows = []
    for label in QUICK if options.quick else NETWORKS:
        heavy = label in ("wrn-22-1", "resnet18-cifar", "vit")
        rows.append(show(steps(label, 3 if options.quick else 15 if heavy else 100)))
    for sources in (2,) if options.quick else (5, 50):
        rows.append(show(on_digits(sources, 2 if options.quick else 10, 1 if options.quick else 3)))
    if not options.quick:
        rows += [show(row) for row in at_size(50, 4)]
    save(options.json, rows)


if __name__ == "__main__":
    main()
