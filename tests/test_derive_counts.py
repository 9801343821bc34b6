"""The number of symmetries of torchvision's families, against formulas worked out by hand from their definitions."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from starcli.derive import derive

torch.set_num_threads(1)


def log(*sizes: int) -> float:
    """log10 of the product of factorials."""
    return sum(math.lgamma(n + 1) for n in sizes) / math.log(10)


def resnet18() -> float:
    """A stream a stage (the stem's is stage 1's), and one inner group in each of its two blocks."""
    return 3 * log(64, 128, 256, 512)


def resnet50() -> float:
    """The stem; a stage's stream of 4w; in each bottleneck two inner groups of w."""
    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    return log(64) + sum(log(4 * w) + 2 * blocks * log(w) for w, blocks in stages)


def vgg11_bn() -> float:
    return log(64, 128, 256, 256, 512, 512, 512, 512, 4096, 4096)


def alexnet() -> float:
    return log(64, 192, 384, 256, 256, 4096, 4096)


def densenet121() -> float:
    return log(64) + 58 * log(128, 32) + log(128, 256, 512)


def squeezenet1_1() -> float:
    """Eight fires, each with a squeeze and two expansions; the classes are fixed."""
    return log(64) + 2 * sum(log(s, e, e) for s, e in ((16, 64), (32, 128), (48, 192), (64, 256)))


def vit_b_16() -> float:
    """One stream; a block has 12 heads, 64 query-key and 64 value units in each, and 3072 hidden units."""
    return log(768) + 12 * (log(12, 3072) + 24 * log(64))


INVERTED = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
EFFICIENT = ((1, 16, 1), (6, 24, 2), (6, 40, 2), (6, 80, 3), (6, 112, 3), (6, 192, 4), (6, 320, 1))
MNAS = ((3, 24, 3), (3, 40, 3), (6, 80, 3), (6, 96, 2), (6, 192, 4), (6, 320, 1))


def inverted(stages: tuple[tuple[int, int, int], ...], width: int, squeeze: int = 0) -> float:
    """Inverted residuals: (expansion, width, repeats); with a squeeze-excitation of a share of the block's input."""
    total = 0.0
    for expansion, out, repeats in stages:
        total += log(out)
        for _ in range(repeats):
            total += log(expansion * width) if expansion > 1 else 0
            total += log(width // squeeze) if squeeze else 0
            width = out
    return total


def mobilenet_v2() -> float:
    return log(32, 1280) + inverted(INVERTED, 32)


def efficientnet_b0() -> float:
    return log(32, 1280) + inverted(EFFICIENT, 32, squeeze=4)


def mnasnet1_0() -> float:
    return log(32, 16, 1280) + inverted(MNAS, 16)


def resnext50_32x4d() -> float:
    """As ResNet-50 with twice the inner width; 32 groups move, and the units on both sides of the grouped convolution
    within each."""
    stages = ((128, 256, 3), (256, 512, 4), (512, 1024, 6), (1024, 2048, 3))
    return log(64) + sum(log(out) + n * (log(32) + 2 * 32 * log(w // 32)) for w, out, n in stages)


def regnet_y_400mf() -> float:
    """A stage's stream of w; in a block w/8 groups, 8 units on both sides of each, squeezed to 1/4 of the input."""
    total, before = log(32), 32
    for w, blocks in ((48, 1), (104, 3), (208, 6), (440, 6)):
        total += log(w)
        for _ in range(blocks):
            total += log(w // 8) + 2 * (w // 8) * log(8) + log(round(before / 4))
            before = w
    return total


def convnext_tiny() -> float:
    return sum(log(d) + n * log(4 * d) for d, n in ((96, 3), (192, 3), (384, 9), (768, 3)))


def swin_t() -> float:
    """A stream a stage; in a block heads of 32 query-key and 32 value units, and 4c hidden units."""
    stages = ((96, 3, 2), (192, 6, 2), (384, 12, 6), (768, 24, 2))
    return sum(log(c) + n * (log(heads, 4 * c) + 2 * heads * log(32)) for c, heads, n in stages)


def googlenet() -> float:
    """Stem, nine inceptions (1x1; reduction and 3x3; reduction and 3x3; projection), two auxiliary heads."""
    inceptions = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )  # fmt: skip
    return log(64, 64, 192) + sum(log(*each) for each in inceptions) + 2 * log(128, 1024)


def shufflenet_v2_x1_0() -> float:
    """In a stage a unit's output waits in turns with what passed by, and each half-way cut decides which units the next
    branch consumes: units are alike if one convolution made them and one convolution consumes them."""
    total = log(24, 1024)
    for width, units in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        total += units * log(half)  # inside the second branch
        waiting = [maker for pair in zip(["a"] * half, ["b"] * half, strict=True) for maker in pair]
        for unit in range(1, units):
            passing, consumed = waiting[:half], waiting[half:]
            total += log(*Counter(consumed).values())
            waiting = [maker for pair in zip(passing, [str(unit)] * half, strict=True) for maker in pair]
        total += log(*Counter(waiting).values())
    return total


FAMILIES = (
    (resnet18, 32), (resnet50, 32), (vgg11_bn, 64), (alexnet, 64), (densenet121, 32), (squeezenet1_1, 64),
    (mobilenet_v2, 32), (efficientnet_b0, 32), (mnasnet1_0, 32), (resnext50_32x4d, 32), (regnet_y_400mf, 32),
    (convnext_tiny, 32), (swin_t, 64), (googlenet, 32), (shufflenet_v2_x1_0, 32),
)  # fmt: skip


LARGE = ("alexnet", "vgg11_bn", "vit_b_16")


def network(name: str, **arguments: object) -> nn.Module:
    """The architecture; a large one without a second spent on drawing initial weights, which tracing never reads."""
    from torchvision import models

    with torch.device("meta" if name in LARGE else "cpu"):
        made = models.get_model(name, weights=None, **arguments)
    if name in LARGE:
        made = made.to_empty(device="cpu")
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.data.zero_()
    return made


@pytest.mark.parametrize(("formula", "side"), FAMILIES, ids=[f.__name__ for f, _ in FAMILIES])
def test_count_by_hand(formula, side):
    name = formula.__name__
    arguments = {"init_weights": False} if name == "googlenet" else {}
    derived = derive(network(name, **arguments), (torch.rand(2, 3, side, side),))
    assert not derived.notes
    assert derived.resolved.log10_symmetries() == pytest.approx(formula(), abs=1e-6)


def test_count_by_hand_of_a_transformer():
    derived = derive(network("vit_b_16", image_size=32), (torch.rand(2, 3, 32, 32),))
    assert not derived.notes
    assert derived.resolved.log10_symmetries() == pytest.approx(vit_b_16(), abs=1e-6)


def test_flatten_of_more_than_one_position():
    """At 224 px VGG's flatten has 49 positions a channel: the units stay, and so does the count."""
    derived = derive(network("vgg11_bn"), (torch.rand(1, 3, 224, 224),))
    assert derived.resolved.log10_symmetries() == pytest.approx(vgg11_bn(), abs=1e-6)
    assert derived.resolved.axes["classifier.0.weight"][1].endswith(" 49)")
