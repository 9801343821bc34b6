"""What aligning costs a long star run: 50 ResNet-18 sources matched anew, in epochs of plain training.

    python tests/benchmarks/bench_realign.py [--quick] [--threads 2] [--json FILE]

A star of a few sources, which were trained a few steps on the digits, is begun at random weights and trained for short
epochs; the alignment at the beginning of each is timed. The epoch of plain training is that of the same network on
50,000 images of 3 x 32 x 32, extrapolated from single steps.
"""

import statistics
import time
from typing import Any

import torch
from bench_matching import NETWORKS, train
from bench_star import random_workspace
from rows import Row, parser, save, seconds, show
from support.training import Stopping

from starcli.alignment.alignment import Alignment
from starcli.models.build import build_network, complete_arguments
from starcli.models.flat_network import FlatNetwork
from starcli.recipes.recipe import Recipe
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Realignment, Source, SourceBank
from starcli.star.starlight_step import OnLines
from starcli.training.run import TrainingRun

IMAGES, BATCH, SOURCES = 50_000, 128, 50


def step_seconds(architecture: str, repeats: int, batch: int) -> list[float]:
    """Seconds of plain steps of `batch` images: forward, backward, SGD; channels last."""
    arguments = complete_arguments(architecture, {}, input_shape=(3, 32, 32), num_classes=10)
    flat = FlatNetwork(build_network(architecture, generator=torch.Generator().manual_seed(0), **arguments))
    optimizer = torch.optim.SGD(flat.network.parameters(), lr=0.01, momentum=0.9, fused=True)
    inputs = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(flat.network(inputs), labels).backward()
        optimizer.step()

    step()
    return [seconds(step, time.perf_counter) for _ in range(repeats)]


class Timed(SourceBank):
    """Notes how long each alignment takes, and how many units it moves."""

    def align(self, *arguments: Any, **named: Any) -> Realignment:
        found: list[Realignment] = []
        taken = seconds(lambda: found.append(super(Timed, self).align(*arguments, **named)))
        self.alignments = [*getattr(self, "alignments", []), (taken, sum(found[0].moved))]
        return found[0]


def alignments(
    name: str, sources: int, trained: int, epochs: int, steps: int, batch: int
) -> tuple[list[tuple[float, int]], int]:
    """Seconds and units moved of the alignment at the beginning of each epoch; and the units of all sources.

    Sources are trained for `trained` steps, the star for `epochs` of `steps` with `batch` images each.
    """
    workspace = random_workspace(name, (3, 32, 32), batch * steps, {})
    networks = [workspace.network(seed) for seed in range(1, sources + 1)]
    found = [train(flat.network, NETWORKS[name][2], trained, seed) for seed, flat in enumerate(networks)]
    bank = Timed([Source(str(i), lambda state=state: state) for i, state in enumerate(found)], workspace.network(0))  # type: ignore[misc]
    recipe = Recipe(epochs=epochs, batch_size=batch, lr=0.02)
    settings = StarSettings(alignment=Alignment("weight"), draws_per_step=1)
    objective = OnLines(workspace, bank, recipe, 0, settings, (), Stopping())  # type: ignore[arg-type]
    TrainingRun(objective, workspace.dataset, recipe, 0).run()
    bank.close()
    return bank.alignments, sources * sum(group.size for group in workspace.spec.resolved.groups.values())


def main() -> None:
    """Measure and print."""
    options_of = parser(__doc__)
    options_of.add_argument("--threads", type=int, default=2)
    options = options_of.parse_args()
    torch.set_num_threads(options.threads)
    name, *sizes = ("densenet40-12", 2, 0, 2, 1, 4) if options.quick else ("resnet18-cifar", 6, 5, 4, 40, 32)
    found, units = alignments(name, *sizes)
    sources, *_, steps, _ = sizes
    repeats, batch = (1, 4) if options.quick else (5, BATCH)
    epoch = [statistics.median(step_seconds(name, repeats, batch)) * IMAGES / batch]
    rows = []
    for what, those, target in (("aligned, cold", found[:1], ""), ("realigned, warm", found[1:], "0.03")):
        times, moved = zip(*those, strict=True)
        note = (
            f"{statistics.median(times) / sources:.3f} s a source, {statistics.mean(moved) / units:.0%} of units moved"
        )
        whole = [each / sources * SOURCES for each in times]
        what = f"{SOURCES} {name} sources {what}"
        against = f"an epoch of {IMAGES:,} images"
        rows.append(show(Row(what, against, whole, epoch, "price", target=target, note=note)))
    (cold, _), *later = found
    warm = [taken for taken, _ in later]
    what = f"{name} sources realigned, warm, after an epoch of {steps} star steps"
    rows.append(show(Row(what, "aligned, cold", warm, [cold], target="5")))
    save(options.json, rows)


if __name__ == "__main__":
    main()
