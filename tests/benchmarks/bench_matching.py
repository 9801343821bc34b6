"""How fast `align` is, and how good: against plain coordinate descent, and against rebasin where it can be imported.

    python tests/benchmarks/bench_matching.py [--quick] [--networks resnet18-cifar,vgg11-bn] [--threads 1] [--json FILE]

Both models of a pair start from their own seed and take a few steps on the digits: far from trained, but with grown
biases, BatchNorm weights and structure. `--pairs DIR` takes pairs NAME-0.pt, NAME-1.pt of state dicts instead. All
methods see the same pairs in one process; notes give the gain of the objective over the identity, ours and the other's.
With one thread, processor time; with more, the clock on the wall.

- plain: coordinate descent in float32 with scipy, each cost one product per block, all groups in every sweep.
- 0 restarts: one descent from the identity, the same search as plain, made fast.
- default: detours first, see `starcli.alignment.matching.search`.
- 5 restarts: further rounds of them.
- rebasin 0.0.47, where it can be imported: its own groups, so that the gain counts what it finds; it may break the
  function.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import Row, parser, save, show
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from starcli.alignment.matching.costs import MatchingState
from starcli.alignment.matching.families import matching_layout
from starcli.alignment.matching.nested import GainTerm, best_permutations
from starcli.alignment.matching.weight_matching import match_weights
from starcli.data.dataset import open_data
from starcli.models.build import build_network, complete_arguments
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.shipped import shipped_spec

NETWORKS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "resnet18-cifar": ("resnet18-cifar", {}, 32),
    "vgg11-bn": ("vgg11-bn", {}, 32),
    "densenet40-12": ("densenet40-12", {}, 32),
    "wrn-22-8": ("wrn", {"depth": 22, "widen_factor": 8}, 32),
    "resnet50": ("resnet50", {}, 64),
    "vit-b16": ("vit", {"patch_size": 16, "dim": 768, "depth": 12, "heads": 12, "mlp_dim": 3072}, 64),
}
REBASIN = {"resnet18-cifar": "10", "vgg11-bn": "12"}
PLAIN = {"densenet40-12": "3", "wrn-22-8": "3", "resnet50": "3", "vit-b16": "3"}
"""Targets, times faster."""

Tensors = dict[str, Tensor]


def train(network: nn.Module, side: int, steps: int, seed: int) -> Tensors:
    """A few steps of SGD on the digits, enlarged to `side`."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = next(iter(open_data("digits").train.batches(10_000)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(images), (16,), generator=generator)
        inputs = functional.interpolate(images[chosen], size=side, mode="bilinear").expand(-1, 3, -1, -1)
        loss = functional.cross_entropy(network(inputs), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def pair(name: str, steps: int, folder: Path | None) -> tuple[Resolved, Tensors, Tensors, Tensors, list[nn.Module]]:
    """The spec, the two models, the reference one step later, and the modules."""
    architecture, given, side = NETWORKS[name]
    arguments = complete_arguments(architecture, given, input_shape=(3, side, side), num_classes=10)
    found, networks = [], []
    for seed in (0, 1):
        network = build_network(architecture, generator=torch.Generator().manual_seed(seed), **arguments)
        if folder:
            network.load_state_dict(torch.load(folder / f"{name}-{seed}.pt", weights_only=True))
        networks.append(network)
        found.append(train(network, side, 0 if folder else steps, seed))
    later = train(networks[0], side, 1, 2)
    networks[0].load_state_dict(found[0])
    written = shipped_spec(architecture, arguments)
    assert written is not None
    spec, variables = written
    shapes = {key: tuple(tensor.shape) for key, tensor in found[0].items()}
    resolved = resolve_spec(spec, shapes, variables, [key for key, _ in networks[0].named_buffers()])
    return resolved, found[0], found[1], later, networks


def inner_product(a: Tensors, b: Mapping[str, Tensor], spec: Resolved) -> float:
    return sum(float((a[key].double() * b[key].double()).sum()) for key in spec.learnable())


def plain(a: Tensors, b: Tensors, spec: Resolved, seed: int) -> Permutation:
    """Coordinate descent as everyone writes it: all groups, all blocks, scipy on the whole matrix."""
    made = matching_layout(spec)
    state = MatchingState(made, {key: index.numpy() for key, index in Permutation.identity(spec).index.items()})
    generator = np.random.default_rng(seed)
    for _ in range(100):
        moved = False
        for number in generator.permutation(len(made.families)):
            family = made.families[number]
            costs = {}
            for k in family.stacks:
                stack, size = made.stacks[k], made.stacks[k].chain.size
                rows = stack.rows_of(state.flat)
                total = torch.zeros(size, size)
                # the row order of the stacks, taken from the tensors themselves, as index and product do it
                for piece in stack.pieces:
                    left = a[piece.tensor].as_strided(piece.shape, piece.strides, piece.offset).reshape(-1, size)
                    right = b[piece.tensor].as_strided(piece.shape, piece.strides, piece.offset).reshape(-1, size)
                    inside = rows[piece.start : piece.stop] - piece.start
                    total += left.T @ right[inside]
                costs[k] = total.numpy()
            if family.nested:
                terms = [GainTerm(made.stacks[k].chain, cost) for k, cost in costs.items()]
                index = best_permutations(terms, {key: state.index[key] for key in family.groups})[1]
            else:
                index = {family.root: linear_sum_assignment(costs[family.stacks[0]], maximize=True)[1]}
            trial = MatchingState(made, {**state.index, **index})
            gain = sum(
                float((cost[range(len(cost)), trial.chain(k)] - cost[range(len(cost)), state.chain(k)]).sum())
                for k, cost in costs.items()
            )
            if gain > 1e-4:
                state.set(family, index)
                moved = True
        if not moved:
            break
    return Permutation(spec, {key: torch.from_numpy(np.ascontiguousarray(each)) for key, each in state.index.items()})


def rebasin_is_there() -> bool:
    return importlib.util.find_spec("rebasin") is not None


def rebasin(networks: list[nn.Module], b: Tensors, side: int) -> Tensors:
    """What rebasin makes of the second model."""
    from rebasin import PermutationCoordinateDescent

    networks[1].load_state_dict(b)
    PermutationCoordinateDescent(*networks, torch.randn(1, 3, side, side)).rebasin()
    return {key: tensor.detach() for key, tensor in networks[1].state_dict().items()}


@dataclass(frozen=True)
class Timed:
    """Seconds and gains over the identity of one method's repeats."""

    seconds: list[float]
    gains: list[float]
    first: Any

    @property
    def gain(self) -> str:
        return f"{statistics.mean(self.gains):.1f}"


def bench(name: str, repeats: int, steps: int, folder: Path | None) -> list[Row]:
    spec, a, b, later, networks = pair(name, steps, folder)
    before = inner_product(a, b, spec)
    matching_layout(spec)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def run(call: Callable[[int], Any], gain: Callable[[Any], float], times: int = repeats) -> Timed:
        taken, results = [], []
        for seed in range(times):
            begin = clock()
            results.append(call(seed))
            taken.append(clock() - begin)
        return Timed(taken, [gain(result) for result in results], results[0])

    def ours(**options: Any) -> Timed:
        return run(lambda seed: match_weights(a, b, spec, seed=seed, **options), lambda m: m.objective - before)

    found = {
        "0 restarts": ours(restarts=0),
        "default": ours(),
        "5 restarts": ours(restarts=5),
    }
    common = run(lambda seed: plain(a, b, spec, seed), lambda p: inner_product(a, p.apply(b), spec) - before)
    others = {"plain coordinate descent": common}
    if rebasin_is_there() and name in REBASIN:
        others["rebasin"] = run(
            lambda _: rebasin(networks, b, NETWORKS[name][2]), lambda left: inner_product(a, left, spec) - before, 5
        )
    rows = []
    for other, theirs in others.items():
        for method, mine in found.items():
            target = (
                "" if method == "5 restarts" else REBASIN.get(name, "") if other == "rebasin" else PLAIN.get(name, "")
            )
            note = f"gain {mine.gain} against {theirs.gain}"
            what = f"align {name}, {method}"
            rows.append(show(Row(what, other, mine.seconds, theirs.seconds, target=target, note=note)))
    warm = run(
        lambda seed: match_weights(later, b, spec, seed=seed, start=found["default"].first.permutation),
        lambda m: m.objective - inner_product(later, b, spec),
    )
    cold = run(
        lambda seed: match_weights(later, b, spec, seed=seed), lambda m: m.objective - inner_product(later, b, spec)
    )
    note = f"gain {warm.gain} against {cold.gain}"
    what = f"realign {name}, warm, the reference one step later"
    return [*rows, show(Row(what, "align, cold", warm.seconds, cold.seconds, target="5", note=note))]


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--networks")
    options_of.add_argument("--repeats", type=int, default=3)
    options_of.add_argument("--steps", type=int, default=10)
    options_of.add_argument("--threads", type=int, default=1)
    options_of.add_argument("--pairs", type=Path)
    options = options_of.parse_args()
    torch.set_num_threads(options.threads)
    names = options.networks.split(",") if options.networks else ["densenet40-12"] if options.quick else list(NETWORKS)
    rows = []
    for name in names:
        rows += bench(name, options.repeats, options.steps, options.pairs)
    save(options.json, rows)


if __name__ == "__main__":
    main()
