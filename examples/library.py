"""The quickstart as a Python session: are the solutions of a small network star-shaped?  About 20 seconds.

python examples/library.py [EPOCHS]
"""

import sys

import torch
from torch import nn

import starcli as sc

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10

# %% Solutions of one task.  A network by name, or any function that builds one; data by name, or tensors.


def network() -> nn.Module:
    """A small convolutional network for 8 x 8 images."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )


models = [sc.train(network, "digits", seed=seed, epochs=epochs, lr=0.05) for seed in range(6)]
print(f"test accuracy of the first: {sc.evaluate(models[0])[0]['accuracy']:.3f}")

# %% The straight line between two of them, before and after their units are matched.

a, b, *_ = models
aligned = sc.align(a, b, restarts=5)
for name, end in {"as they are": b, "aligned": aligned}.items():
    curve = sc.barrier(a, end, alignment=None).curves["train"]
    print(f"barrier, {name}: {curve.loss_barrier:.3f} nats, at t = {curve.t_max:g}")

# what is aligned computes the same function
images = torch.rand(4, 1, 8, 8)
assert torch.allclose(aligned.module()(images), b.module()(images), atol=1e-4)

# %% A star of four of them, judged on the two that it never saw.

star = sc.find_star(models[:4], epochs=2 * epochs)
report = sc.star_report(
    star, models[:4], models[4:], aligned_sources=star.aligned_sources, alignment=sc.Alignment("weight", restarts=5)
)
for group, found in report.groups.items():
    print(f"{group}: mean barrier {found.summaries['train'].mean:.3f} nats over {len(found.pairs)} pairs")

# %% Predictions averaged over the star domain; four models fused into one.

for row in sc.bma(star, models[:4], samples=4, repeats=2):
    print(f"{row['posterior']} of {row['samples']}: accuracy {row['accuracy']:.3f}, loss {row['nll']:.3f} nats")
fused = sc.fuse(models[:4], epochs=epochs)
for row in fused.comparison:
    if row["split"] == "test" and row["model"] != "source":
        print(f"{row['model']}: accuracy {row['accuracy']:.3f}")
