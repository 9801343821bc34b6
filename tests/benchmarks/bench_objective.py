"""Whether a higher objective of matching lowers barriers: the same pairs, matched by shorter and longer searches.

    python tests/benchmarks/bench_objective.py [--quick] [--json FILE]

Networks trained on the digits to the end. For each pair: no matching, plain descent from the identity, the default
search, 5 and 20 restarts. A row compares the mean barrier on the training data of one search with that of the default.
"""

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from rows import Row, parser, save, show
from support.training import small
from torch import Tensor

from starcli.alignment.matching.weight_matching import match_weights
from starcli.barriers.line import measure_line
from starcli.evaluation.evaluator import Evaluator
from starcli.recipes.recipe import Recipe
from starcli.symmetry.permutation import Permutation
from starcli.training.train import train_network

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 2, "hidden_dim": 256},
    "resnet": {"width": 16},
    "wrn": {"depth": 10},
    "vit": {},
}
SEARCHES: dict[str, dict[str, Any]] = {"default": {}, "5 restarts": {"restarts": 5}, "20 restarts": {"restarts": 20}}


def compared(name: str, arguments: dict[str, Any], models: int, epochs: int) -> list[Row]:
    """Mean barrier and mean gain of each search over all pairs."""
    workspace = small(name, limit=None, **arguments)
    spec = workspace.spec.resolved
    found = [train_network(workspace, Recipe(epochs=epochs), seed).tensors for seed in range(models)]  # type: ignore[arg-type]
    evaluator = Evaluator(workspace)  # type: ignore[arg-type]
    pairs = [(a, b) for a in range(models) for b in range(a + 1, models)]
    barriers: dict[str, list[float]] = {}
    gains: dict[str, list[float]] = {}

    def measure(search: str, permutation: Permutation, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
        moved = permutation.apply(b)
        gain = sum(float((a[key].double() * (moved[key] - b[key]).double()).sum()) for key in spec.learnable())
        gains.setdefault(search, []).append(gain)
        barriers.setdefault(search, []).append(measure_line(evaluator, a, moved, points=5).curves["train"].loss_barrier)

    for i, j in pairs:
        a, b = found[i], found[j]
        identity = Permutation.identity(spec)
        measure("no matching", identity, a, b)
        measure("plain descent", match_weights(a, b, spec, seed=0, restarts=0).permutation, a, b)
        for search, options in SEARCHES.items():
            measure(search, match_weights(a, b, spec, seed=0, **options).permutation, a, b)
    label = ", ".join([name, *(f"{key} {value}" for key, value in arguments.items())])
    rows = []
    for search in barriers.keys() - {"default"}:
        lower = sum(x < y for x, y in zip(barriers[search], barriers["default"], strict=True))
        gain, default = statistics.mean(gains[search]), statistics.mean(gains["default"])
        rows.append(
            Row(
                f"mean barrier of {label}: {search}",
                "default",
                [statistics.mean(barriers[search])],
                [statistics.mean(barriers["default"])],
                kind="price",
                unit="nats",
                note=f"gain {gain:.1f}, of the default {default:.1f}; lower in {lower} of {len(pairs)} pairs",
            )
        )
    return sorted(rows, key=lambda row: -row.ours[0])


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    models, epochs = (2, 1) if options.quick else (5, 10)
    rows = []
    for name in ["mlp"] if options.quick else NETWORKS:
        rows += [show(row) for row in compared(name, NETWORKS[name], models, epochs)]
    save(options.json, rows)


if __name__ == "__main__":
    main()
