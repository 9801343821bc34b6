"""Stars by Algorithm 1 and by the better star's options, at equal cost: lines to held-out models, and ratios of them.

    python examples/paper/better_star.py measure NETWORK MODELS --sources 5-9 --held-out 100-107 [--data DATA]
        [--align METHOD] [WAY...]
    python examples/paper/better_star.py table [--page PAGE]
    python examples/paper/better_star.py images FASHION_MNIST FILE

MODELS is a directory of SEED.safetensors, trained by `starcli train`; `--epochs` (100) are a star's. Each star of
each way is a line of `better_star.jsonl` (`--record`), written as soon as it is measured, and not measured again. All
ways go through the training examples as often, forward and backward; lines are aligned and judged alike, by `--align`
(activation). Of a network there may be stars of several numbers of sources. `table` prints Markdown, or puts it between
the marks of a page: means over stars and held-out models, the ratio to Algorithm 1 with the batch size named, and its
95% interval, of bootstrap over star seeds and held-out models. `images` writes Fashion-MNIST, small: of the directory
of its files the first 2,000 images of each split, each 2 x 2 pixels averaged, into FILE (.npz).
"""

import argparse
import itertools
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import starcli as sc
from starcli.cli.options.values import seed_list
from starcli.data.dataset import open_data

DISTURBED = {"noise": 0.2, "realign_noise": 1.0, "pull": 0.001, "weight_decay": 0.0, "sampling": "midpoint"}
WAYS: dict[str, dict[str, Any]] = {
    "Algorithm 1, batches of 128": {},
    "Algorithm 1, batches of 32": {"batch_size": 32},
    "Algorithm 1, batches of 16": {"batch_size": 16},
    "midpoint, batches of 32": {"batch_size": 32, "sampling": "midpoint"},
    "noise 0.3, midpoint, batches of 32": {"batch_size": 32, "noise": 0.3, "sampling": "midpoint"},
    "realign-noise 1, noise 0.2, pull 0.001, midpoint, batches of 32": {"batch_size": 32, **DISTURBED},
    "realign-noise 1, noise 0.2, pull 0.002, midpoint, batches of 32": {"batch_size": 32, **DISTURBED, "pull": 0.002},
    "12 companions, midpoint, batches of 32": {"batch_size": 32, "companions": 12, "sampling": "midpoint"},
}
FIGURES = ("barrier", "max", "test barrier", "test max")
BEGIN, END = "<!-- better star -->\n", "\n<!-- end of better star -->"
Row = dict[str, Any]


def star_row(
    models: Path, sources: list[int], held_out: list[int], way: str, seed: int, epochs: int, align: str, **where: Any
) -> Row:
    """Train one star and measure its lines to all held-out models, which are aligned as its sources are."""
    began = time.process_time()
    paths = [models / f"{number}.safetensors" for number in sources]
    star = sc.find_star(paths, seed=seed, epochs=epochs, alignment=align, **WAYS[way], **where)
    seconds = time.process_time() - began
    lines = []
    for number in held_out:
        line = sc.barrier(star, models / f"{number}.safetensors", alignment=align, **where)
        curves = line.curves
        lines.append(
            {
                "held_out": number,
                "barrier": curves["train"].loss_barrier,
                "max": curves["train"].loss_max,
                "test barrier": curves["test"].loss_barrier,
                "test max": curves["test"].loss_max,
                "least accuracy": min(curves["train"].accuracy),
                "least test accuracy": min(curves["test"].accuracy),
            }
        )
    return {
        "way": way,
        "sources": len(sources),
        "seed": seed,
        "seconds": seconds,
        "star": star.metadata.metrics,
        "lines": lines,
    }


def ratio(ours: list[Row], others: list[Row], figure: str, draws: int = 2000) -> tuple[float, float, float]:
    """Ratio of the means, and its 95% interval: stars of both ways and held-out models are drawn anew."""

    def mean(rows: list[Row], chosen: list[int]) -> float:
        return math.fsum(row["lines"][number][figure] for row in rows for number in chosen)

    def over(ours: list[Row], others: list[Row], chosen: list[int]) -> float:
        below = mean(others, chosen) / len(others)
        return mean(ours, chosen) / len(ours) / below if below else math.inf

    generator, count = random.Random(0), len(ours[0]["lines"])
    found = []
    for _ in range(draws):
        chosen = generator.choices(range(count), k=count)
        some, more = (generator.choices(rows, k=len(rows)) for rows in (ours, others))
        found.append(over(some, more, chosen))
    found.sort()
    low, high = (found[round(share * (draws - 1))] for share in (0.025, 0.975))
    return over(ours, others, list(range(count))), low, high


def table(rows: list[Row]) -> str:
    """All that is recorded, as Markdown."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        names = [figure.replace("max", "highest loss").replace("test highest", "highest test") for figure in FIGURES]
        lines.append(f"\n**{network[0].upper()}{network[1:]}**\n")
        lines.append(f"| way | stars | own loss | {' | '.join(names)} | accuracy | seconds |")
        lines.append("|---" * (len(FIGURES) + 5) + "|")
        fewest = min(row["sources"] for row in own)
        by_way = {}
        for way, count in itertools.product(WAYS, sorted({row["sources"] for row in own})):
            found = [row for row in own if (row["way"], row["sources"]) == (way, count)]
            if found:
                by_way[way if count == fewest else f"{way}, {count} sources"] = found
        for way, found in by_way.items():
            cells = [spread([line[figure] for line in row["lines"]] for row in found) for figure in FIGURES]
            least = spread(([line["least accuracy"] for line in row["lines"]] for row in found), 4)
            loss, seconds = mean_of([r["star"]["train"]["loss"] for r in found]), mean_of([r["seconds"] for r in found])
            lines.append(f"| {way} | {len(found)} | {loss:.4f} | {' | '.join(cells)} | {least} | {seconds:.0f} |")
        plain = [way for way in by_way if way in WAYS and not WAYS[way].keys() - {"batch_size"}]
        for way, other in itertools.product((way for way in by_way if way not in plain), plain):
            cells = [in_words(*ratio(by_way[way], by_way[other], figure)) for figure in FIGURES]
            lines.append(f"| ratio of {way} to {other} | | | {' | '.join(cells)} | | |")
    return "\n".join(lines)


def in_words(middle: float, low: float, high: float) -> str:
    """A ratio and its interval; nothing where Algorithm 1 has 0."""
    return f"{middle:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(high) else ""


def write_small_images(directory: str, file: str) -> None:
    """Fashion-MNIST in 14 x 14 pixels, 2,000 images of each split."""
    import numpy as np

    data, arrays = open_data(f"idx:{directory}"), {}
    for name, split in (("train", data.train), ("test", data.test)):
        images = split.raw[:2000].numpy().reshape(2000, 1, 14, 2, 14, 2).mean((3, 5))
        arrays |= {f"x_{name}": images.round().astype(np.uint8), f"y_{name}": split.labels[:2000].numpy()}
    np.savez(file, **arrays)


def mean_of(values: list[float]) -> float:
    """The mean."""
    return math.fsum(values) / len(values)


def spread(values: Any, digits: int = 3) -> str:
    """Mean and standard deviation over stars of their means over lines."""
    means = [mean_of(each) for each in values]
    middle = mean_of(means)
    deviation = math.sqrt(math.fsum((each - middle) ** 2 for each in means) / max(len(means) - 1, 1))
    return f"{middle:.{digits}f} ± {deviation:.{digits}f}"


def _seeds(word: str) -> list[int]:
    """`0-3,7` as [0, 1, 2, 3, 7]."""
    return seed_list([word])


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "table", "images"))
    parser.add_argument("network", nargs="?", metavar="NETWORK|FASHION_MNIST")
    parser.add_argument("models", nargs="?", type=Path, metavar="MODELS|FILE")
    parser.add_argument("ways", nargs="*", metavar="WAY", help="; ".join(WAYS))
    parser.add_argument("--sources", type=_seeds)
    parser.add_argument("--held-out", type=_seeds)
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--data")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--align", default="activation")
    parser.add_argument("--record", type=Path, default=Path(__file__).with_name("better_star.jsonl"))
    asked = parser.parse_intermixed_args()
    if asked.what == "images":
        write_small_images(asked.network, asked.models)
        return
    lines = asked.record.read_text().splitlines() if asked.record.exists() else []
    rows: list[Row] = [json.loads(line) for line in lines]
    if asked.what == "table":
        if asked.page:
            before, rest = asked.page.read_text().split(BEGIN)
            asked.page.write_text(f"{before}{BEGIN}{table(rows)}\n{END}{rest.split(END)[1]}")
        else:
            print(table(rows))
        return
    where = {"data": asked.data} if asked.data else {}
    done = {(row["network"], row["way"], row["sources"], row["seed"]) for row in rows}
    for seed in asked.seeds:
        for way in asked.ways or WAYS:
            if (asked.network, way, len(asked.sources), seed) not in done:
                how = {"epochs": asked.epochs, "align": asked.align, **where}
                row = star_row(asked.models, asked.sources, asked.held_out, way, seed, **how)
                with asked.record.open("a") as file:
                    file.write(json.dumps({"network": asked.network, **row}) + "\n")


if __name__ == "__main__":
    main()
