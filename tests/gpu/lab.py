"""What the sections share: a place for rows, clocks that wait for the device, and networks on made-up images."""

import json
import platform
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor

from starcli.data.dataset import Dataset
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.splits import MemorySplit
from starcli.recipes.recipe import Recipe
from starcli.training.objective import Objective
from starcli.training.run import TrainingRun
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given
from starcli.workspace.workspace import Workspace, new_workspace

NO_CARD = "no card"
"""In the place of a card's name."""

TOP = 12
"""Operators of a profile that are kept."""
LINES = 30
"""Last lines of what a part that fails says, which are kept."""
BEGAN = time.monotonic()


@dataclass(frozen=True)
class Size:
    """What is measured: the reference case of the paper, or something tiny that shows that the script runs."""

    arch: str
    arguments: Mapping[str, Any]
    image: tuple[int, int, int]
    train: int
    test: int
    batch: int


FULL = Size("resnet18-cifar", {}, (3, 32, 32), 50_000, 10_000, 128)
TINY = Size("resnet", {"width": 4, "stages": 2}, (3, 8, 8), 64, 32, 32)


@dataclass(frozen=True)
class Lab:
    """Where a section works, and the file that its rows go to, each as soon as it is known."""

    section: str
    device: torch.device
    quick: bool
    out: Path

    @property
    def size(self) -> Size:
        """The case that is measured."""
        return TINY if self.quick else FULL

    @cached_property
    def machine(self) -> dict[str, str]:
        """Card and versions, for every row."""
        card = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else NO_CARD
        return {"card": card, "torch": torch.__version__, "python": platform.python_version()}

    def row(self, what: str, **figures: Any) -> None:
        """Keep a row, and show it."""
        after = round(time.monotonic() - BEGAN, 1)  # seconds of the section: what takes how much of its limit
        line = {"section": self.section, "what": what, **figures, "after": after, "quick": self.quick, **self.machine}
        with self.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in figures.items() if key != "said")
        print(f"  {what}: {shown}", flush=True)

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Context of a part of a section, beside which others make sense: if it fails, a row says where and why."""
        try:
            yield
        except Exception as error:
            lines = traceback.format_exc().splitlines()
            print(*lines, sep="\n", file=sys.stderr, flush=True)
            self.row(what, failed=f"failed: {type(error).__name__}: {error}"[:300], said=lines[-LINES:])

    def check(self, what: str, found: float, limit: float, **more: Any) -> None:
        """Keep whether a difference is within what is said of it."""
        self.row(what, difference=found, limit=limit, held=bool(found <= limit), **more)

    def measured(self, what: str, times: list[float], **more: Any) -> None:
        """Keep the median of repeats, with the least and the largest."""
        self.row(what, seconds=statistics.median(times), least=min(times), largest=max(times), **more)

    def wait(self) -> None:
        """Wait until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """How long `work` takes, until the device is done."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def waits(self, what: str, work: Callable[[], object]) -> None:
        """Keep what makes the host wait for the card in `work`, by line."""
        if self.device.type != "cuda":
            return
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        notes = [each for each in said if "synchroniz" in str(each.message)]
        places = Counter(f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in notes)
        self.row(f"waits of the host in {what}", count=len(notes), places=str(dict(places.most_common(TOP))))

    def workspace(
        self,
        precision: str = "bf16",
        *,
        arch: str | None = None,
        dataset: Dataset | None = None,
        fast: bool = False,
        **arguments: Any,
    ) -> Workspace:
        """The network of `size`, or another one, on made-up images or other data."""
        name, given = (self.size.arch, dict(self.size.arguments)) if arch is None else (arch, arguments)
        choices = Choices(arch=name, arch_args=given, device=str(self.device), precision=precision, fast=fast)
        return new_workspace(choices, Given(dataset or self.images()))

    def images(self, share: int = 1) -> Dataset:
        """Random bytes as images, with random labels; a part of as many, where `share` is more than 1."""
        generator, size = torch.Generator().manual_seed(0), self.size
        how = Normalisation(BYTES, (0.5,) * size.image[0], (0.25,) * size.image[0])

        def split(count: int) -> MemorySplit:
            raw = torch.randint(256, (count, *size.image), generator=generator, dtype=torch.uint8)
            return MemorySplit(raw, torch.randint(10, (count,), generator=generator), how)

        return Dataset(
            name="random", num_classes=10, input_shape=size.image, mean=how.mean, std=how.std, fingerprint="",
            augmentation=("pad-crop", "flip"),
            train=split(size.train // share), validation=None, test=split(size.test // share),
            val_fraction=0.0, split_seed=0, limit=None,
        )  # fmt: skip

    def profile(self, what: str, work: Callable[[], object], steps: int) -> None:
        """Keep where the device's time goes, in milliseconds a step, and how much of the time it has work.

        The time is that of the work without a profile, which holds up the host. A few thousand operators: each takes
        the profile some 50 microseconds afterwards.
        """
        gpu = self.device.type == "cuda"
        kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if gpu else [])]
        taken = self.seconds(work)
        with torch.profiler.profile(activities=kinds) as found:
            work()
            self.wait()
        averages = list(found.key_averages())
        own = "self_device_time_total" if gpu else "self_cpu_time_total"

        def annotated(each: Any) -> bool:  # names of regions count as the device's, too, beside what runs in them
            return bool(getattr(each, "is_user_annotation", False))

        kernels = [each for each in averages if each.device_type.name == "CUDA" and not annotated(each)]
        operators = [each for each in averages if each.device_type.name == "CPU"]
        operators.sort(key=lambda each: -getattr(each, own))
        self.row(
            what,
            kind="profile",
            milliseconds_a_step=1e3 * taken / steps,
            busy=sum(each.self_device_time_total for each in kernels) / 1e6 / taken,
            launches_a_step=sum(each.count for each in kernels) / steps,
            top=[[each.key, getattr(each, own) / 1e3 / steps, each.count / steps] for each in operators[:TOP]],
        )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(f"{name} {taken:.3f} ms x {count:g}" for name, taken, count in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Stepper:
    """Steps of an objective one after the other, with data and optimiser, as a run takes them."""

    def __init__(self, objective: Objective, dataset: Dataset, recipe: Recipe) -> None:
        self.run = TrainingRun(objective, dataset, recipe, 0)
        objective.begin_epoch(0)
        self._batches: Iterator[Any] = iter(())

    def steps(self, count: int) -> None:
        """Take so many steps; epochs follow each other."""
        for _ in range(count):
            batch = next(self._batches, None)
            if batch is None:
                self.run.position.step = self.run.checked = 0
                self._batches = self.run._batches()
                batch = next(self._batches)
            self.run._step(batch)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Largest difference of two state dicts."""
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)
