"""Whether training waits for data: a folder of JPEGs as large as ImageNet's, decoded by workers while steps run.

    python tests/benchmarks/bench_folder.py [--quick] [--images 20000] [--json FILE]

The time in which the loop stands still until a batch is there, against the time of the whole loop, from the second
batch on (the first one waits for the workers to start); the network computes on one thread, so that a core is left for
decoding.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rows import Row, parser, save, show
from torchvision.models import get_model

from starcli.data.dataset import open_data

CLASSES, SIDES = 10, (500, 375)


def write(folder: Path, count: int) -> None:
    """`count` JPEGs for training, one for testing in each class: smooth noise, about as many bytes as photographs."""
    generator = np.random.default_rng(0)
    for number in range(count + CLASSES):
        split = "train" if number < count else "val"
        path = folder / split / f"class{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        small.resize(SIDES, Image.Resampling.BILINEAR).save(path, quality=92)


def waited(folder: Path, architecture: str, steps: int) -> tuple[float, float]:
    """Seconds in which training waited, and of the whole loop."""
    dataset = open_data(f"folder:{folder}")
    network = get_model(architecture, num_classes=CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    batches = dataset.train.batches(
        32,
        order=torch.randperm(len(dataset.train)),
        augmentation=dataset.augmentation,
        generator=torch.Generator().manual_seed(0),
        channels_last=True,
    )
    waiting, begin = 0.0, 0.0
    for number in range(steps + 1):
        asked = time.perf_counter()
        inputs, labels = next(batches)
        if number == 0:
            begin = time.perf_counter()
        else:
            waiting += time.perf_counter() - asked
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return waiting, time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    options_of = parser(__doc__)
    options_of.add_argument("--images", type=int, default=20_000)
    options = options_of.parse_args()
    torch.set_num_threads(1)
    count, steps = (200, 3) if options.quick else (options.images, 15)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count)
        size = sum(os.path.getsize(path) for path in Path(folder).rglob("*.jpg")) / (count + CLASSES) / 1024
        for architecture in ("resnet18",) if options.quick else ("resnet18", "resnet50"):
            waiting, whole = waited(Path(folder), architecture, steps)
            what = f"waiting for data, {count:,} JPEGs of {SIDES[0]} x {SIDES[1]}, {size:.0f} KB, {architecture}"
            note = f"{steps} steps of 32 images of 224 x 224"
            rows.append(show(Row(what, "the whole loop", [waiting], [whole], "price", target="0.05", note=note)))
    save(options.json, rows)


if __name__ == "__main__":
    main()
