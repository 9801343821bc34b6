"""The dimensions of continuous symmetries of networks of torchvision and transformers, against hand counts.

The tables in `docs` were measured by scripts (tests/benchmarks/derive_torchvision.py, derive_transformers.py) on the
published networks, which take too long here. Each count is worked out from the definition of its network.
"""

import re
from collections.abc import Callable, Mapping
from math import comb

import pytest
from support.program import ROOT


def resnet18() -> int:
    """ReLU scales all units: those of each stage's stream (the stem's is the first's), and those inside each block."""
    return sum(w + 2 * w for w in (64, 128, 256, 512))


def resnet34() -> int:
    return sum(w + blocks * w for w, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)))


def vgg11() -> int:
    return 64 + 128 + 2 * 256 + 4 * 512 + 2 * 4096


def alexnet() -> int:
    return 64 + 192 + 384 + 256 + 256 + 2 * 4096


def squeezenet1_1() -> int:
    """Eight fires, each with a squeeze s and two expansions e."""
    return 64 + 2 * sum(s + 2 * e for s, e in ((16, 64), (32, 128), (48, 192), (64, 256)))


def googlenet() -> int:
    """Stem, nine inceptions, two auxiliary heads."""
    inceptions = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )  # fmt: skip
    return 64 + 64 + 192 + sum(map(sum, inceptions)) + 2 * (128 + 1024)


def densenet121() -> int:
    """BatchNorm and ReLU in front of each convolution scale what it reads; what is read by BatchNorm has no scale."""
    total, width = 0, 64
    for k, layers in enumerate((6, 12, 24, 16)):
        total += sum(width + 32 * layer + 128 for layer in range(layers))
        width += 32 * layers
        total += width  # the norm of the transition, and the last one
        width //= 2 if k < 3 else 1
    return total


def mobilenet_v2() -> int:
    """ReLU6 leaves only the streams between blocks, which are linear."""
    return 16 + 24 + 32 + 64 + 96 + 160 + 320


def efficientnet_b0() -> int:
    """SiLU: the same."""
    return 16 + 24 + 40 + 80 + 112 + 192 + 320


def regnet_y_400mf() -> int:
    """ReLU: the stem, streams of w, two layers of w in a block, and its squeeze to 1/4 of what enters the block."""
    total, before = 32, 32
    for w, blocks in ((48, 1), (104, 3), (208, 6), (440, 6)):
        total += w
        for _ in range(blocks):
            total += 2 * w + round(before / 4)
            before = w
    return total


def convnext_tiny() -> int:
    """A depthwise convolution lets no stream rotate. Each norm before a linear map scales (in a block, before a stage,
    before the classes), and each block's layer scale against what it multiplies."""
    stages = ((96, 3), (192, 3), (384, 9), (768, 3))
    return sum(2 * blocks * d for d, blocks in stages) + sum(d for d, _ in stages)


def rotations(n: int) -> int:
    """Rotations under LayerNorm, which fix (1, ..., 1)."""
    return comb(n - 1, 2)


SWIN = ((96, 2, 3), (192, 2, 6), (384, 6, 12), (768, 2, 24))
"""Of each stage the width, the blocks and the heads."""


def swin_t() -> int:
    """Streams rotate, but the first, which a norm writes to. Two norms in a block, and one of four pixels behind each
    stage but the last, of one pixel behind that, scale; in each head two invertible matrices of 32."""
    total = sum(rotations(c) for c, _, _ in SWIN[1:])
    total += sum(2 * blocks * c + 2 * blocks * heads * 32**2 for c, blocks, heads in SWIN)
    return total + 4 * (96 + 192 + 384) + 768


def swin_v2_t() -> int:
    """Norms write to all streams, and divide none out but the last, of which the last norm scales. Of queries and keys
    only angles matter, which rotations keep; ReLU scales the 512 units that make a block's table of positions."""
    return sum(c + blocks * (heads * (comb(32, 2) + 32**2) + 512) for c, blocks, heads in SWIN)


def vit_b_32(n: int = 768, blocks: int = 12, heads: int = 12) -> int:
    """The stream rotates; two norms in a block and a last one scale; in a head two invertible matrices."""
    return rotations(n) + (2 * blocks + 1) * n + blocks * heads * 2 * (n // heads) ** 2


TORCHVISION = (
    resnet18, resnet34, vgg11, alexnet, squeezenet1_1, googlenet, densenet121, mobilenet_v2, efficientnet_b0,
    regnet_y_400mf, convnext_tiny, swin_t, swin_v2_t, vit_b_32,
)  # fmt: skip

ATTENTION = 2 * 4 * 6**2
"""Queries with keys, and values with outputs, of four heads of 6 units."""
GROUPED = 2 * 6**2 + 2 * 6
"""Values with outputs of two heads; six units of queries and keys under rotary positions are three complex numbers."""
EXPERTS = 2 * 8**2 + 4 * 16
"""Values with outputs of two heads of 8 units; four experts of 16 units, whose gated halves scale."""
LATENT = 2 * (comb(8, 2) + 8) + 2 * 4 * 8**2 + 4
"""Latent queries, and keys with values, rotate and have a norm; in each of four heads queries with keys, and values
with outputs; one rotary key of two complex numbers for all heads."""
TRANSFORMERS: Mapping[str, int] = {
    "BERT": 2 * ATTENTION + 24,  # the last norm, read by the pooler alone
    "CLIP": 4 * ATTENTION + rotations(24) + 2 * 5 * 24 + comb(12, 2),  # a norm writes to the stream of pictures
    "DeepseekV3": 2 * LATENT + comb(32, 2) + 5 * 32 + 16 + (8 + 1) * 16,  # a dense layer; experts, one for all tokens
    "GPT-2": 2 * ATTENTION + 4 * 24,  # the last norm's scale is read by the embedding, so that nothing rotates
    "Gemma": 2 * GROUPED + 2 * 20,  # a norm's scale is 1 + w
    "Llama": 2 * GROUPED + 2 * 20 + comb(24, 2) + 5 * 24,
    "Mistral": 2 * GROUPED + 2 * 20 + comb(24, 2) + 5 * 24,
    "Mixtral": 2 * (EXPERTS + 2 * 8) + comb(32, 2) + 5 * 32,
    "Qwen3Moe": 2 * EXPERTS + comb(32, 2) + 5 * 32,  # queries and keys are normalised
    "Qwen2": 2 * GROUPED + 2 * 20 + comb(24, 2) + 5 * 24,
    "Swin": 2 * 4**2 * (2 * 2 + 2 * 4) + 4 * 8 + 4 * 8 + rotations(16) + 5 * 16,
    "T5": 6 * ATTENTION + 4 * 20 + (4 + 1 + 6) * 24,  # the last norm is read by the embedding
    "ViT": vit_b_32(24, 2, 4),
    "Whisper": 6 * ATTENTION + (4 + 1 + 6) * 24,  # GELU, positions, and the embedding let no stream rotate
}


def published(table: str) -> dict[str, int]:
    """The dimensions of a table in `docs`, by model."""
    section = (ROOT / "docs" / table).read_text(encoding="utf-8").partition("## Continuous symmetries")[2]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines()]
    return {row[0]: int(row[2].replace(",", "")) for row in rows if len(row) > 3 and row[2][:1].isdigit()}


@pytest.mark.parametrize("count", TORCHVISION, ids=lambda count: count.__name__)
def test_torchvision(count: Callable[[], int]) -> None:
    assert published("torchvision.md")[count.__name__] == count()


def test_transformers() -> None:
    assert published("transformers.md") == TRANSFORMERS
