"""The number of symmetries of torchvision's families, against formulas worked out by hand from their definitions.

Each formula takes the sizes of a member of its family, by default those of the published network. Large families are
traced at a small member; the published one is checked against the table in `docs`, which a script measured in full.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from support.program import ROOT
from support.shipped import fact
from torch import nn
from torchvision import models
from torchvision.models import convnext, efficientnet, regnet, resnet, swin_transformer

from starcli.symmetry.derive.derive import derive, derive_and_prove

torch.set_num_threads(1)

TABLE = ROOT / "docs" / "torchvision.md"


Stages = Sequence[tuple[int, ...]]
"""Numbers of each stage: widths, heads, repeats."""


def resnet18() -> float:
    """A stream a stage (the stem's is stage 1's), and one inner group in each of its two blocks."""
    return 3 * fact(64, 128, 256, 512)


def resnet50(stages: Stages = ((64, 3), (128, 4), (256, 6), (512, 3))) -> float:
    """The stem; a stage's stream of 4w; in each bottleneck two inner groups of w."""
    return fact(64) + sum(fact(4 * w) + 2 * blocks * fact(w) for w, blocks in stages)


def vgg11_bn() -> float:
    return fact(64, 128, 256, 256, 512, 512, 512, 512, 4096, 4096)


def alexnet() -> float:
    return fact(64, 192, 384, 256, 256, 4096, 4096)


def densenet121(blocks: Sequence[int] = (6, 12, 24, 16)) -> float:
    """Every layer has a bottleneck of 128 and makes 32 that all later ones of the block see; a transition halves."""
    total, width = fact(64), 64
    for k, layers in enumerate(blocks):
        width += 32 * layers
        total += layers * fact(128, 32)
        if k < len(blocks) - 1:
            width //= 2
            total += fact(width)
    return total


def squeezenet1_1() -> float:
    """Eight fires, each with a squeeze and two expansions; the classes are fixed."""
    return fact(64) + 2 * sum(fact(s, e, e) for s, e in ((16, 64), (32, 128), (48, 192), (64, 256)))


def vit_b_16(blocks: int = 12) -> float:
    """One stream; a block has 12 heads, 64 query-key and 64 value units in each, and 3072 hidden units."""
    return fact(768) + blocks * (fact(12, 3072) + 24 * fact(64))


INVERTED = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
EFFICIENT = ((1, 16, 1), (6, 24, 2), (6, 40, 2), (6, 80, 3), (6, 112, 3), (6, 192, 4), (6, 320, 1))
MNAS = ((3, 24, 3), (3, 40, 3), (6, 80, 3), (6, 96, 2), (6, 192, 4), (6, 320, 1))
FEW_INVERTED = ((1, 16, 1), (6, 24, 2), (6, 32, 1))


def inverted(stages: Stages, width: int, squeeze: int = 0) -> float:
    """Inverted residuals: (expansion, width, repeats); with a squeeze-excitation of a share of the block's input."""
    total = 0.0
    for expansion, out, repeats in stages:
        total += fact(out)
        for _ in range(repeats):
            total += fact(expansion * width) if expansion > 1 else 0
            total += fact(width // squeeze) if squeeze else 0
            width = out
    return total


def mobilenet_v2(stages: Stages = INVERTED) -> float:
    return fact(32, 1280) + inverted(stages, 32)


def efficientnet_b0(stages: Stages = EFFICIENT) -> float:
    """The last convolution is four times as wide as the last stage."""
    return fact(32, 4 * stages[-1][1]) + inverted(stages, 32, squeeze=4)


def mnasnet1_0() -> float:
    return fact(32, 16, 1280) + inverted(MNAS, 16)


def resnext50_32x4d(stages: Stages = ((128, 256, 3), (256, 512, 4), (512, 1024, 6), (1024, 2048, 3))) -> float:
    """As ResNet-50 with twice the inner width; 32 groups move, and the units on both sides of the grouped convolution
    within each."""
    return fact(64) + sum(fact(out) + n * (fact(32) + 2 * 32 * fact(w // 32)) for w, out, n in stages)


def regnet_y_400mf(stages: Stages = ((48, 1), (104, 3), (208, 6), (440, 6))) -> float:
    """A stage's stream of w; in a block w/8 groups, 8 units on both sides of each, squeezed to 1/4 of the input."""
    total, before = fact(32), 32
    for w, blocks in stages:
        total += fact(w)
        for _ in range(blocks):
            total += fact(w // 8) + 2 * (w // 8) * fact(8) + fact(round(before / 4))
            before = w
    return total


def convnext_tiny(stages: Stages = ((96, 3), (192, 3), (384, 9), (768, 3))) -> float:
    return sum(fact(d) + n * fact(4 * d) for d, n in stages)


SWIN = ((96, 3, 2), (192, 6, 2), (384, 12, 6), (768, 24, 2))
FEW_SWIN = ((48, 3, 2), (96, 6, 1))


def swin_t(stages: Stages = SWIN) -> float:
    """A stream a stage; in a block heads of c / heads query-key and as many value units, and 4c hidden units."""
    return sum(fact(c) + n * (fact(heads, 4 * c) + 2 * heads * fact(c // heads)) for c, heads, n in stages)


def swin_v2_t(stages: Stages = SWIN) -> float:
    """The same with, in every block, a network of 512 hidden units from places to the bias of each head."""
    return swin_t(stages) + sum(n for _, _, n in stages) * fact(512)


def googlenet() -> float:
    """Stem, nine inceptions (1x1; reduction and 3x3; reduction and 3x3; projection), two auxiliary heads."""
    inceptions = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )  # fmt: skip
    return fact(64, 64, 192) + sum(fact(*each) for each in inceptions) + 2 * fact(128, 1024)


def shufflenet_v2_x1_0() -> float:
    """In a stage a unit's output waits in turns with what passed by, and each half-way cut decides which units the next
    branch consumes: units are alike if one convolution made them and one convolution consumes them."""
    total = fact(24, 1024)
    for width, units in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        total += units * fact(half)  # inside the second branch
        waiting = [maker for pair in zip(["a"] * half, ["b"] * half, strict=True) for maker in pair]
        for unit in range(1, units):
            passing, consumed = waiting[:half], waiting[half:]
            total += fact(*Counter(consumed).values())
            waiting = [maker for pair in zip(passing, [str(unit)] * half, strict=True) for maker in pair]
        total += fact(*Counter(waiting).values())
    return total


PUBLISHED = (
    resnet18, resnet50, vgg11_bn, alexnet, densenet121, squeezenet1_1, vit_b_16, mobilenet_v2, efficientnet_b0,
    mnasnet1_0, resnext50_32x4d, regnet_y_400mf, convnext_tiny, swin_t, swin_v2_t, googlenet, shufflenet_v2_x1_0,
)  # fmt: skip


def named(name: str, **arguments: object) -> nn.Module:
    return models.get_model(name, weights=None, **arguments)


def empty(name: str) -> nn.Module:
    """A large one without a second spent on drawing initial weights, which tracing never reads."""
    with torch.device("meta"):
        made = named(name)
    made = made.to_empty(device="cpu")
    for tensor in (*made.parameters(), *made.buffers()):
        tensor.data.zero_()
    return made


def small_efficientnet() -> nn.Module:
    settings = [
        efficientnet.MBConvConfig(expansion, 3, 2, width, out, repeats)
        for (expansion, out, repeats), width in zip(FEW_INVERTED, (32, 16, 24), strict=True)
    ]
    return models.EfficientNet(settings, dropout=0.0)


def small_regnet() -> nn.Module:
    return models.RegNet(regnet.BlockParams([1, 2], [48, 104], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25))


def small_swin(**arguments: object) -> nn.Module:
    return models.SwinTransformer([4, 4], 48, [2, 1], [3, 6], [4, 4], **arguments)


def small_swin_v2() -> nn.Module:
    v2 = swin_transformer.SwinTransformerBlockV2, swin_transformer.PatchMergingV2
    return small_swin(block=v2[0], downsample_layer=v2[1])


BOTTLENECK = resnet.Bottleneck
MEMBERS: dict[str, tuple[Callable[[], nn.Module], float, int]] = {
    "resnet18": (partial(named, "resnet18"), resnet18(), 32),
    "resnet50": (
        partial(models.ResNet, BOTTLENECK, [1, 2, 1, 1]), resnet50(((64, 1), (128, 2), (256, 1), (512, 1))), 32
    ),
    "vgg11_bn": (partial(empty, "vgg11_bn"), vgg11_bn(), 64),
    "alexnet": (partial(empty, "alexnet"), alexnet(), 64),
    "densenet": (partial(models.DenseNet, 32, (2, 3, 1)), densenet121((2, 3, 1)), 32),
    "squeezenet1_1": (partial(named, "squeezenet1_1"), squeezenet1_1(), 64),
    "vit": (partial(models.VisionTransformer, 32, 16, 2, 12, 768, 3072), vit_b_16(2), 32),
    "mobilenet_v2": (
        partial(named, "mobilenet_v2", inverted_residual_setting=[[*stage, 2] for stage in FEW_INVERTED]),
        mobilenet_v2(FEW_INVERTED), 32,
    ),
    "efficientnet": (small_efficientnet, efficientnet_b0(FEW_INVERTED), 32),
    "mnasnet1_0": (partial(named, "mnasnet1_0"), mnasnet1_0(), 32),
    "resnext": (
        partial(models.ResNet, BOTTLENECK, [1, 2, 1, 1], groups=32, width_per_group=4),
        resnext50_32x4d(((128, 256, 1), (256, 512, 2), (512, 1024, 1), (1024, 2048, 1))), 32,
    ),
    "regnet": (small_regnet, regnet_y_400mf(((48, 1), (104, 2))), 32),
    "convnext": (
        partial(models.ConvNeXt, [convnext.CNBlockConfig(96, 192, 1), convnext.CNBlockConfig(192, None, 2)]),
        convnext_tiny(((96, 1), (192, 2))), 32,
    ),
    "swin": (small_swin, swin_t(FEW_SWIN), 32),
    "googlenet": (partial(named, "googlenet", init_weights=False), googlenet(), 32),
    "shufflenet_v2_x1_0": (partial(named, "shufflenet_v2_x1_0"), shufflenet_v2_x1_0(), 32),
}  # fmt: skip


@pytest.mark.parametrize("member", MEMBERS)
def test_count_by_hand(member):
    make, formula, side = MEMBERS[member]
    derived = derive(make(), (torch.rand(2, 3, side, side),))
    assert not derived.notes
    assert derived.resolved.log10_symmetries() == pytest.approx(formula, abs=1e-6)


def test_streams_joined_after_their_normalisation():
    """Swin V2 normalises a branch before it is added: sets that only later turn out to have the same members."""
    derived = derive_and_prove(small_swin_v2(), (torch.rand(2, 3, 32, 32),))
    assert derived.proof.proved
    assert not derived.rejected
    assert not derived.notes
    assert derived.resolved.log10_symmetries() == pytest.approx(swin_v2_t(FEW_SWIN), abs=1e-6)
    assert len(derived.resolved.groups) == 2 + 5 * 3


def test_flatten_of_more_than_one_position():
    """At 224 px VGG's flatten has 49 positions a channel: the units stay, and so does the count."""
    derived = derive(empty("vgg11_bn"), (torch.rand(1, 3, 224, 224),))
    assert derived.resolved.log10_symmetries() == pytest.approx(vgg11_bn(), abs=1e-6)
    assert derived.resolved.expressions["classifier.0.weight"][1].endswith(" 49)")


def test_published_table():
    """The measured table has, for the published networks, what the formulas say."""
    rows = [re.split(r" *\| *", line.strip("| ")) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    measured = {row[0]: float(row[4]) for row in rows if len(row) > 5 and re.fullmatch(r"\d+\.\d+", row[4])}
    known = [formula for formula in PUBLISHED if formula.__name__ in measured]
    assert len(known) >= 12
    for formula in known:
        assert measured[formula.__name__] == pytest.approx(formula(), abs=1e-3), formula.__name__
