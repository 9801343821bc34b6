"""Planted permutations against every method, on trained networks of several architectures.

    python tests/benchmarks/recovery.py [COUNT [NETWORK...]]

Each of COUNT (20) networks learns the digits for one epoch, and `sc.selftest` plants permutations in copies of it.
Prints on how many networks all units came back, without noise on the copies and with half a standard deviation of it,
and the share of units. 20 networks of all take ten minutes on one core.
"""

import statistics
import sys
import warnings
from collections import defaultdict
from typing import Any

import torch

import starcli as sc
from starcli.data.dataset import open_data

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": ("resnet", {"width": 8}),
    "densenet": ("densenet40-12", {"depth": 13}),
    "mlp": ("mlp", {"hidden_dim": 64, "depth": 3}),
    "mlp, no norm": ("mlp", {"hidden_dim": 64, "depth": 3, "batch_norm": "none"}),
    "vgg": ("vgg11-bn", {"width": 8}),
    "vit": ("vit", {"patch_size": 2, "dim": 32, "depth": 3, "heads": 4, "mlp_dim": 64}),
}
"""Architecture and its arguments."""

METHODS = [
    (sc.Alignment("weight"), 3),
    (sc.Alignment("activation"), 3),
    (sc.Alignment("straight-through", steps=20), 1),
    (sc.Alignment("sinkhorn", steps=20), 1),
]
"""Alignments, and the number of copies that permutations are planted in. Learning a few steps is enough to get lost."""


def data_of(arch: str) -> Any:
    """The digits, for a VGG resized to 32 x 32."""
    if not arch.startswith("vgg"):
        return "digits"
    [(images, labels)] = open_data("digits").train.batches(2000)
    large = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    return {"train": (large, labels), "test": (large, labels)}


def main() -> None:
    """Train, plant, count."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    warnings.simplefilter("ignore", sc.StarcliWarning)
    for label in sys.argv[2:] or NETWORKS:
        arch, arguments = NETWORKS[label]
        data, found = data_of(arch), defaultdict(list)
        for seed in range(count):
            model = sc.train(arch, data, seed=seed, arch_args=arguments, epochs=1)
            for how, plants in METHODS:
                for row in sc.selftest(model, method=how, plants=plants):
                    found[row["method"], row["noise"]].append(row)
        for (method, noise), rows in found.items():
            whole = sum(row["recovered"] == row["units"] for row in rows)
            share = statistics.fmean(row["share"] for row in rows)
            print(f"{label:12s} {method:17s} noise {noise}: {whole} of {len(rows)}, {share:.2%} of units", flush=True)


if __name__ == "__main__":
    main()
