"""The networks of the experiments, in words of `starcli`: small ones, and the paper's own."""

import os
from dataclasses import dataclass
from pathlib import Path

DIGITS32, FASHION32, FASHION14 = "digits32.npz", "fashion32.npz", "fashion14.npz"
"""The digits enlarged to 32 x 32 pixels and Fashion-MNIST with a border, for networks that halve images five times;
and Fashion-MNIST at half its size, for networks that take long."""
FASHION = "--data idx:$FASHION_MNIST"
FEW = 5000
"""Training images of Fashion-MNIST that convolutional networks are trained on."""


@dataclass(frozen=True)
class Network:
    """A network, its data and their training.

    train: what `train` says of the network and its training. star: what `star` and `fuse` say beside the settings of
    their sources. data: what every command says of data that live at a path. barrier: what `barrier` says besides.
    """

    name: str
    train: str
    star: str = ""
    data: str = ""
    barrier: str = ""


TINY = Network("tiny", "--arch mlp --arch-arg depth=2 hidden_dim=8 --data digits --limit 100 --epochs 1 --lr 0.1")
TINY_ADAM = Network("tiny-adam", TINY.train.replace("--lr 0.1", "--optimizer adam --lr 0.01"))
"""For quick runs."""

# On so little data a star takes longer than its sources.
RESNET = Network("resnet-w8", "--recipe quickstart", "--epochs 50")
ADAM = Network("resnet-w8-adam", "--recipe quickstart --optimizer adam --lr 0.003", "--epochs 50")
MLP = Network("mlp", "--arch mlp --arch-arg hidden_dim=64 depth=3 --data digits", "--epochs 50")
DENSENET = Network("densenet", "--arch densenet40-12 --arch-arg depth=13 --data digits", "--epochs 50")
VGG = Network("vgg", "--arch vgg11-bn --arch-arg width=8 --epochs 15", "--epochs 60", f"--data {DIGITS32}")
FASHION_VGG = Network("fashion5k-vgg", VGG.train, "--epochs 30", f"--data {FASHION32}", "--points 5")
VIT = Network(
    "vit",
    "--arch vit --arch-arg patch_size=2 dim=32 depth=3 heads=4 mlp_dim=64 --data digits --optimizer adam --lr 0.003 "
    "--epochs 50",
    "--epochs 60 --lr 0.001",
)
FASHION_MLP = Network(
    "fashion-mlp", "--arch mlp --arch-arg hidden_dim=64 depth=3 --limit 10000 --epochs 20 --stacked", data=FASHION
)
FASHION_DENSENET = Network(
    "fashion5k-densenet",
    "--arch densenet40-12 --arch-arg depth=13 --epochs 10",
    "--epochs 40",
    f"--data {FASHION14}",
    "--points 5",
)
FASHION_VIT = Network(
    "fashion5k-vit",
    "--arch vit --arch-arg patch_size=4 dim=32 depth=3 heads=4 mlp_dim=64 --optimizer adam --lr 0.003 "
    f"--limit {FEW} --epochs 30",
    "--epochs 90 --lr 0.001",
    FASHION,
    "--points 5",
)
FASHION_RESNET = Network(
    "fashion5k", f"--arch resnet --arch-arg width=8 --limit {FEW} --epochs 10", "--epochs 20", FASHION, "--points 5"
)


def of_the_paper(recipe: str, data: str = "") -> Network:
    """A network of the paper, which keeps the BatchNorm statistics of the ends of a line."""
    return Network(recipe, f"--recipe paper/{recipe}", data=data, barrier="--statistics own-ends")


RESNET18 = of_the_paper("resnet18-cifar10")
PAPER = (
    RESNET18,
    *(of_the_paper(name) for name in ("resnet18-adam-cifar10", "vgg11-cifar10", "vgg19-cifar10")),
    *(of_the_paper(name) for name in ("densenet40-12-cifar10", "resnet18-cifar100", "densenet40-12-cifar100")),
    of_the_paper("resnet18-imagenet", "--data folder:$IMAGENET"),
)
"""Those of Table 1, in its order."""


def write_images(directory: Path, data: str) -> None:
    """Write the images of another size that a line's data name, if there are any and they are not there."""
    import numpy as np
    import torch

    from starcli.data.dataset import open_data

    file = directory / data.removeprefix("--data ")
    if file.name not in (DIGITS32, FASHION32, FASHION14) or file.exists():
        return
    digits = file.name == DIGITS32
    opened = open_data("digits") if digits else open_data(os.path.expandvars(FASHION.split()[1]), limit=FEW)
    arrays = {}
    for name, split in (("train", opened.train), ("test", opened.test)):
        images, labels = (torch.cat(parts) for parts in zip(*split.batches(512), strict=True))
        if digits:
            images = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
        elif file.name == FASHION14:
            images = torch.nn.functional.avg_pool2d(images, 2)
        else:
            images = torch.nn.functional.pad(images, (2, 2, 2, 2), value=float(images.min()))
        arrays |= {f"x_{name}": images.numpy(), f"y_{name}": labels.numpy()}
    np.savez(file, **arrays)
