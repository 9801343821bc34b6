"""How time and memory grow with sources, width, depth, data and points: whole commands. Writes docs/growth.md.

    python tests/benchmarks/growth.py [--quick] [--repeats 1] [-o docs/growth.md] [GROUP ...]

Processor seconds (user and system) and the largest resident memory of fresh processes, one thread. What an epoch takes
is the difference of two runs of different length, so that start-up, reading and the last scores drop out. The exponent
is the slope of log(seconds) over log(size) by least squares over the larger half of the sizes, where constant parts
weigh little. Each repeat measures all rows of the groups anew; the rows of other groups stay in the page as they are.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

STARCLI = [sys.executable, "-m", "starcli"]
EPOCHS, MANY_EPOCHS = (2, 6), (2, 52)
"""Lengths of the two runs of which the difference is taken; of epochs of few milliseconds it takes many."""
STAR_EPOCHS, MANY_STAR_EPOCHS = (2, 10), (2, 102)
"""The same of stars, of which the smaller ones are over in a fraction of what two starts differ by."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds and the largest resident memory in bytes of a process."""

    seconds: float
    memory: int


def run(line: str) -> Cost:
    """Run a line of starcli, silent."""
    command = [*STARCLI, *line.split(), "-q"]
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(Path("cache").resolve())}
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, environment, file_actions=actions), 0)
    os.close(null)
    if status:
        raise SystemExit(f"failed: starcli {line}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def epoch(line: str, out: str, lengths: tuple[int, int] = EPOCHS) -> Cost:
    """Cost of an epoch of a training: `{epochs}` and `{out}` in the line are filled in."""
    short, long = (run(line.format(epochs=epochs, out=f"{out}-{epochs}")) for epochs in lengths)
    return Cost((long.seconds - short.seconds) / (lengths[1] - lengths[0]), long.memory)


@dataclass(frozen=True)
class Growth:
    """One row of the table: how the cost grows with a size, and the exponent that is expected of the seconds."""

    what: str
    by: str
    sizes: Sequence[int]
    costs: Sequence[Cost]
    expected: str
    repeats: Sequence["Growth"] = ()
    """Rows of which this one has the medians."""

    def exponent(self) -> float:
        """Slope of log(seconds) over log(size), over the larger half of the sizes."""
        half = min(len(self.sizes) // 2, len(self.sizes) - 2)
        x = [math.log(size) for size in self.sizes[half:]]
        y = [math.log(max(cost.seconds, 1e-3)) for cost in self.costs[half:]]
        return statistics.linear_regression(x, y).slope

    def cells(self) -> list[str]:
        """For the table."""
        seconds = ", ".join(f"{cost.seconds:.3g}" for cost in self.costs)
        memory = ", ".join(f"{cost.memory / 1e6:.0f}" for cost in self.costs)
        sizes = ", ".join(f"{size:,}" for size in self.sizes)
        exponent, own = f"{self.exponent():.2f}", [repeat.exponent() for repeat in self.repeats]
        if own:
            exponent += f" ({min(own):.2f} to {max(own):.2f}, {len(own)} runs)"
        return [self.what, self.by, sizes, seconds, exponent, self.expected, memory]


def medians(repeats: Sequence[Growth]) -> Growth:
    """The same row measured several times, as one row of medians."""
    first, *others = repeats
    if not others:
        return first
    sizes = zip(*(repeat.costs for repeat in repeats), strict=True)
    median = statistics.median
    costs = [Cost(median(c.seconds for c in of), round(median(c.memory for c in of))) for of in sizes]
    return replace(first, costs=costs, repeats=repeats)


def images(path: Path, count: int, *, size: int = 16) -> Path:
    """Images of ten noisy patterns, in a file."""
    if not path.exists():
        draw = np.random.default_rng(0)
        patterns, arrays = draw.normal(size=(10, 1, size, size)), {}
        for split, number in (("train", count), ("test", 1000)):
            labels = draw.integers(0, 10, number)
            noise = draw.normal(size=(number, 1, size, size))
            arrays |= {f"x_{split}": (patterns[labels] + noise).astype("float32"), f"y_{split}": labels}
        np.savez(path, **arrays)
    return path


FULL_WIDTH = """\
## 200 sources of full width

Not made by the program above, for its sources are 9 GB: ResNet-18 of width 64, 11 million weights and one step of
training each (`train --arch resnet18-cifar --data digits --limit 128 --epochs 1 --seeds 0-199`), and stars of them
(`star --limit 512 --align weight --epochs 2`: 4 steps of 128 images of 8x8 an epoch). Processor seconds of one thread,
one run each.

| | 5 sources | 200 sources |
| --- | ---: | ---: |
| the look at the sources, each | 0.09 | 0.08 |
| aligned the first time, each | 0.90 | 0.81 |
| aligned anew, each | 0.33 | 0.31 |
| the steps of an epoch | 1.12, 1.04 | 1.43, 1.41 |
| memory of the process, at most | 945 MB | 1,078 MB (1,576 MB before freed memory was given back) |
| pages of files that are mapped | 347 MB | 613 MB |

5 composed sources are kept, of 200 each is composed while the step before it runs, which its time counts. Realigning
200 is 62 s; an epoch of 50,000 images of 32x32 is 167 TFLOP, at 110 GFLOP/s 1,500 s: a twenty-fifth of it.
"""
"""Measured by hand, once."""

MLP = "--arch mlp --arch-arg depth=3 hidden_dim=64 --data digits"


def by_sources(counts: Sequence[int]) -> list[Growth]:
    """Epochs of stars of MLPs, with their sources aligned anew in each epoch, when they are drawn, and once."""
    run(f"train {MLP} --epochs 2 --stacked --seeds 0-{counts[-1] - 1} -o sources/{{seed}}.safetensors")
    found = []
    for realign, aligned, expected, lengths in (
        ("epoch", "sources aligned anew", "1", STAR_EPOCHS),
        ("drawn", "those that it draws aligned anew", "0", MANY_STAR_EPOCHS),
        ("never", "aligned once", "0", MANY_STAR_EPOCHS),
    ):
        costs = []
        for count in counts:
            sources = " ".join(f"sources/{seed}.safetensors" for seed in range(count))
            line = f"star --sources {sources} --align weight --realign-every {realign} --epochs {{epochs}}"
            costs.append(epoch(f"{line} -o {{out}}.safetensors", f"star-{realign}-{count}", lengths))
        what = f"an epoch of a star, 12 steps, {aligned}"
        found.append(Growth(what, "sources (MLP, digits)", counts, costs, expected))
    return found


def by_large_sources(counts: Sequence[int], width: int) -> list[Growth]:
    """Whole stars of one epoch of ResNet-18: what the sources themselves cost."""
    arch = f"--arch resnet18-cifar --arch-arg width={width} --data digits"
    run(f"train {arch} --epochs 1 --limit 100 --seeds 0-{counts[-1] - 1} -o large/{{seed}}.safetensors")
    costs = []
    for count in counts:
        sources = " ".join(f"large/{seed}.safetensors" for seed in range(count))
        line = f"star --sources {sources} --limit 100 --align weight --epochs 1"
        costs.append(run(f"{line} -o large-star-{count}.safetensors"))
    return [Growth("a whole star of one step", f"sources (ResNet-18 of width {width})", counts, costs, "1")]


def by_network(name: str, sizes: Sequence[int], fixed: str, expected: Sequence[str]) -> list[Growth]:
    """An epoch of training an MLP, and aligning two of them, by width or depth."""
    trained, aligned = [], []
    for size in sizes:
        network = f"--arch mlp --arch-arg {fixed} {name}={size} --data digits"
        line = f"train {network} --epochs {{epochs}} --seeds 0 -o {{out}}.safetensors"
        trained.append(epoch(line, f"{name}{size}", MANY_EPOCHS))
        run(f"train {network} --epochs 1 --seeds 0-1 -o {name}-{size}-{{seed}}.safetensors")
        pair = f"{name}-{size}-0.safetensors {name}-{size}-1.safetensors"
        aligned.append(run(f"align {pair} --method weight --restarts 10 -o {name}-{size}-aligned.safetensors"))
    least = aligned[0].seconds
    beyond = [Cost(max(cost.seconds - least, 0.0), cost.memory) for cost in aligned[1:]]
    words = {"hidden_dim": "width", "depth": "depth"}[name]
    return [
        Growth("an epoch of training", f"{words} (MLP, digits)", sizes, trained, expected[0]),
        Growth("`align`, beyond the smallest", f"{words} (MLP, digits)", sizes[1:], beyond, expected[1]),
    ]


def by_examples(counts: Sequence[int], points: Sequence[int]) -> list[Growth]:
    """An epoch of training by the number of examples, and a barrier by that of its points."""
    costs = []
    for count in counts:
        file = images(Path(f"images-{count}.npz"), count)
        line = f"train --arch resnet --arch-arg width=8 --data {file} --epochs {{epochs}} --seeds 0"
        costs.append(epoch(f"{line} -o {{out}}.safetensors", f"data-{count}"))
    rows = [Growth("an epoch of training", "examples (ResNet of width 8, 16x16)", counts, costs, "1")]
    file = images(Path(f"images-{counts[0]}.npz"), counts[0])
    network = f"--arch resnet --arch-arg width=8 --data {file}"
    run(f"train {network} --epochs 1 --seeds 0-1 -o pair-{{seed}}.safetensors")
    line = f"barrier pair-0.safetensors pair-1.safetensors --data {file}"
    measured = [run(f"{line} --points {number}") for number in (3, *points)]
    beyond = [Cost(cost.seconds - measured[0].seconds, cost.memory) for cost in measured[1:]]
    return [*rows, Growth("`barrier`, beyond 3 points", "points", [n - 3 for n in points], beyond, "1")]


HEADER = ["what", "by", "sizes", "CPU seconds", "exponent", "expected", "memory, MB"]


def kept_rows(path: Path) -> dict[tuple[str, str], list[str]]:
    """Cells of the rows of a page, by the first two of them."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {
        (cells[0], cells[1]): cells
        for cells in rows
        if len(cells) == len(HEADER) and "---" not in cells and cells != HEADER
    }


def page(rows: Sequence[Sequence[str]]) -> str:
    """The whole page."""
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join([
        "# Growth", "",
        "How time and memory grow with the number of sources, width, depth, data and points: to guess what a larger",
        "run takes (`--dry-run` tells it on your machine).", "",
        "Made by `python tests/benchmarks/growth.py`: processor seconds of one thread and the largest resident memory",
        "of whole commands, importing torch included. The exponent is the slope of log(seconds) over",
        "log(size), over the larger half of the sizes. Small networks are bound by the calls of operators, not by",
        "arithmetic, so their exponents stay below those of the arithmetic, which are the expected ones. Differences",
        "of whole commands are uncertain by some tenths of a second: much of the smaller figures of `align`. Where an",
        "exponent has a spread in parentheses, figures are medians of so many runs; others are of one run.", "",
        *("| " + " | ".join(cells) + " |" for cells in lines), "", FULL_WIDTH,
    ])  # fmt: skip


def groups(*, quick: bool) -> dict[str, Callable[[], list[Growth]]]:
    """What can be measured, by name; quick: the smallest sizes."""
    few: Callable[[Sequence[int]], Sequence[int]] = lambda sizes: sizes[:3] if quick else sizes  # noqa: E731
    return {
        "sources": lambda: by_sources(few([5, 20, 100, 300, 1000])),
        "large-sources": lambda: by_large_sources(few([5, 20, 50, 200]), 4 if quick else 16),
        "width": lambda: by_network("hidden_dim", few([16, 64, 256, 1024]), "depth=3", ["2", "3"]),
        "depth": lambda: by_network("depth", few([2, 4, 8, 16, 32]), "hidden_dim=64", ["1", "1"]),
        "examples": lambda: by_examples(few([1000, 5000, 20000, 50000]), few([11, 27, 51])),
    }


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(groups(quick=True)) + "; all if none")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes")
    parser.add_argument("--repeats", type=int, default=1, help="measure so many times, and show medians")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[2] / "docs" / "growth.md")
    options = parser.parse_args()
    measures = groups(quick=options.quick)
    if unknown := set(options.groups) - set(measures):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: at least 1")
    output = options.output.resolve()
    rows = kept_rows(output)
    for name in options.groups or measures:
        repeats = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:  # another one each time: finished files are not made again
                os.chdir(folder)
                repeats.append(measures[name]())
                os.chdir(output.parent)
        for same in zip(*repeats, strict=True):
            cells = medians(same).cells()
            rows[cells[0], cells[1]] = cells
            print(" | ".join(cells), flush=True)
        output.write_text(page(list(rows.values())), encoding="utf-8")


if __name__ == "__main__":
    main()
