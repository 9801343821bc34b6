"""Planted elements of all kinds of symmetry against alignment over all kinds, on trained networks.

    python tests/benchmarks/recovery_elements.py [COUNT [NETWORK...]]

Each of COUNT (20) networks learns the digits for one epoch. A random element, of permutations, signs, scales, rotations
and matrices together, acts on a copy of it, and the copy is aligned to it. Prints on how many networks the train
barrier to the copy fell below 1e-3 nats, the largest of these barriers, and the mean barrier before.
"""

import statistics
import sys
import warnings

from recovery import NETWORKS, data_of

import starcli as sc

METHODS = [sc.Alignment("weight", kinds="all")]
"""Alignments over all kinds."""
TANH = {"mlp, tanh": ("mlp", {"hidden_dim": 64, "depth": 3, "batch_norm": "none", "activation": "tanh"})}
"""One network more, which has signs."""
GONE = 1e-3
"""Train barrier in nats below which an element counts as undone."""


def main() -> None:
    """Train, let a random element act, align, measure."""
    count, networks = int(sys.argv[1]) if len(sys.argv) > 1 else 20, NETWORKS | TANH
    warnings.simplefilter("ignore", sc.StarcliWarning)
    for label in sys.argv[2:] or networks:
        arch, arguments = networks[label]
        data, before, after = data_of(arch), [], {how.title: [] for how in METHODS}
        for seed in range(count):
            model = sc.train(arch, data, seed=seed, arch_args=arguments, epochs=1)
            moved = sc.permute(model, seed=seed, kinds="all")
            before.append(_barrier(model, moved))
            for how in METHODS:
                after[how.title].append(_barrier(model, sc.align(model, moved, method=how)))
        for title, found in after.items():
            undone = f"{sum(each < GONE for each in found)} of {count} undone, at most {max(found):.1e} nats left"
            print(f"{label:12s} {title}: {undone} of {statistics.fmean(before):.2f}", flush=True)


def _barrier(one: sc.Checkpoint, other: sc.Checkpoint) -> float:
    """Train barrier between two models, in nats."""
    return sc.barrier(one, other, points=3, alignment=None).curves["train"].loss_barrier


if __name__ == "__main__":
    main()
