"""How far losses and barriers in bf16 are from those in float32: the largest differences over trained networks.

    python tests/benchmarks/bench_precision.py [--quick] [--json FILE]

Networks trained on the digits; each pair's path has 5 points. Allowed: a loss may differ by 1e-3 + 1e-3 of itself, a
barrier by 1e-3.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from rows import Row, parser, save, show
from support.training import Small, small

from starcli.alignment.matching.weight_matching import match_weights
from starcli.barriers.line import measure_line
from starcli.evaluation.evaluator import Evaluator
from starcli.recipes.recipe import Recipe
from starcli.training.train import train_network

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "resnet": {"width": 8},
    "wrn": {"depth": 10},
    "densenet40-12": {},
    "vit": {},
}
POINTS = 5


def differences(name: str, arguments: dict[str, Any], epochs: int, limit: int) -> Row:
    """Largest difference of a loss (in the tolerance) and of a barrier along one aligned path."""
    workspaces = {p: small(name, limit=limit, **arguments) for p in ("fp32", "bf16")}
    workspaces["bf16"] = Small(name, workspaces["fp32"].arguments, workspaces["fp32"].dataset, precision="bf16")
    recipe = Recipe(epochs=epochs)
    a, b = (train_network(workspaces["fp32"], recipe, seed).tensors for seed in (0, 1))  # type: ignore[arg-type]
    match = match_weights(a, b, workspaces["fp32"].spec.resolved, seed=0)
    paths = {
        p: measure_line(Evaluator(workspace), a, match.permutation.apply(b), points=POINTS)  # type: ignore[arg-type]
        for p, workspace in workspaces.items()
    }
    shares, barriers = [], []
    for split in ("train", "test"):
        exact, coarse = (paths[p].curves[split] for p in ("fp32", "bf16"))
        shares += [abs(x - y) / (1e-3 + 1e-3 * x) for x, y in zip(exact.loss, coarse.loss, strict=True)]
        barriers.append(abs(exact.loss_barrier - coarse.loss_barrier))
    worst = max(
        abs(x - y) for x, y in zip(paths["fp32"].curves["train"].loss, paths["bf16"].curves["train"].loss, strict=True)
    )
    return Row(
        f"bf16, {name}: largest difference of a loss",
        "its tolerance",
        [max(shares)],
        [1.0],
        kind="price",
        unit="tolerances",
        target="1",
        note=f"train loss {worst:.1e}; barrier {max(barriers):.1e} of {paths['fp32'].curves['train'].loss_barrier:.3f}",
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    names = ["mlp"] if options.quick else list(NETWORKS)
    epochs, limit = (1, 200) if options.quick else (5, 600)
    save(options.json, [show(differences(name, NETWORKS[name], epochs, limit)) for name in names])


if __name__ == "__main__":
    main()
