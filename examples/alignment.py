"""What is left of the barrier between two solutions, by how they are aligned: independent pairs of several networks.

    python examples/alignment.py [PAIRS [FIRST_SEED [NETWORK...]]]

Prints a table for each split: the mean barrier in nats over the pairs, its standard deviation, and CPU seconds a pair.
6 pairs of 7 networks of the digits, from seed 100, take about 20 minutes on one core; 1 pair of `mlp` a few seconds.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Iterator

import torch

import starcli as sc

NETWORKS = {
    "resnet w8": ("resnet", {"width": 8}, {}),
    "resnet w16": ("resnet", {"width": 16}, {}),
    "densenet d13": ("densenet40-12", {"depth": 13}, {}),
    "vgg11-bn w8": ("vgg11-bn", {"width": 8}, {"epochs": 15}),
    "mlp": ("mlp", {"hidden_dim": 64, "depth": 3}, {}),
    "resnet w8, adam": ("resnet", {"width": 8}, {"optimizer": "adam", "lr": 0.003}),
    "vit": (
        "vit",
        {"patch_size": 2, "dim": 32, "depth": 3, "heads": 4, "mlp_dim": 64},
        {"optimizer": "adam", "lr": 0.003, "epochs": 50},
    ),
}
"""Architecture, its arguments, and settings of training beside the default recipe."""

ALIGNMENTS = {
    "none": None,
    "weight, 1 restart": sc.Alignment("weight"),
    "weight, 10 restarts": sc.Alignment("weight", restarts=10),
    "activation": sc.Alignment("activation"),
    "activation, 10 restarts": sc.Alignment("activation", restarts=10),
    "activation alone": sc.Alignment("activation", share=1.0),
    "activation, correlation": sc.Alignment("activation", gains="correlation"),
    "activation of noise": sc.Alignment("activation", examples="noise"),
}


def digits(side: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The digits, normalised, resized to `side` pixels."""
    from starcli.data.dataset import open_data

    def resized(split: object) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(split.batches(512))
        images = torch.cat([images for images, _ in batches])
        labels = torch.cat([labels for _, labels in batches])
        return torch.nn.functional.interpolate(images, size=(side, side), mode="bilinear"), labels

    data = open_data("digits")
    return {"train": resized(data.train), "test": resized(data.test)}


def measured(network: str, pairs: int, first_seed: int) -> Iterator[tuple[str, int, str, float, float]]:
    """Alignment, pair, split, barrier in nats and CPU seconds of aligning, for all of them."""
    name, arguments, settings = NETWORKS[network]
    data = digits(32) if name.startswith("vgg") else "digits"
    for pair in range(pairs):
        seeds = (first_seed + 2 * pair, first_seed + 2 * pair + 1)
        a, b = (sc.train(name, data, seed=seed, arch_args=arguments, **settings) for seed in seeds)
        for label, how in ALIGNMENTS.items():
            began = time.process_time()
            other = b if how is None else sc.align(a, b, method=how)
            seconds = time.process_time() - began
            for split, curve in sc.barrier(a, other).curves.items():
                yield label, pair, split, curve.loss_barrier, seconds


def main() -> None:
    """Print both tables, and on how many pairs activations are better."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    warnings.simplefilter("ignore", sc.StarcliWarning)
    found = {name: list(measured(name, pairs, first_seed)) for name in sys.argv[3:] or NETWORKS}
    for split in ("train", "test"):
        print(f"\n| {split} barrier | " + " | ".join(found) + " |")
        print("|---" * (1 + len(found)) + "|")
        for label in ALIGNMENTS:
            cells = []
            for rows in found.values():
                own = [(value, seconds) for how, _, where, value, seconds in rows if (how, where) == (label, split)]
                values = [value for value, _ in own]
                spread = f" ± {statistics.stdev(values):.2f}" if pairs > 1 else ""
                cells.append(f"{statistics.fmean(values):.3f}{spread} ({statistics.fmean(s for _, s in own):.1f} s)")
            print(f"| {label} | " + " | ".join(cells) + " |")
    print("\npairs on which activation is below weight with 10 restarts (train):")
    for name, rows in found.items():
        barriers = {(how, pair): value for how, pair, split, value, _ in rows if split == "train"}
        lower = sum(barriers["activation", p] < barriers["weight, 10 restarts", p] for p in range(pairs))
        print(f"  {name}: {lower} of {pairs}")


if __name__ == "__main__":
    main()
