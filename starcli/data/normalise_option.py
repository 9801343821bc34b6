"""How inputs are normalised, as people say it: `--normalise none|data|imagenet|MEAN:STD`. Needs no torch."""

import math
from collections.abc import Sequence

from starcli.errors import StarcliError, few

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet, by which the paper normalises CIFAR (appendix B.1); published by torchvision with its models."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet, likewise."""

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation: one number a channel (or feature), or one for all."""

AS_THEY_ARE: MeanStd = ((0.0,), (1.0,))
"""What changes nothing: floats stay as they are, uint8 images are divided by 255."""


def parse_normalise(text: str) -> MeanStd | None:
    """Read `none`, `imagenet` or `MEAN:STD`; None stands for `data`, whose statistics are measured.

    MEAN and STD are one number for all channels or, with commas, one for each; of inputs scaled to [0, 1] where these
    are bytes. Raises StarcliError for other words, numbers that are not finite and a deviation that is not above 0.

    >>> parse_normalise("none"), parse_normalise("0.5:0.25"), parse_normalise("data")
    (((0.0,), (1.0,)), ((0.5,), (0.25,)), None)
    >>> parse_normalise("0.1,0.2,0.3:1,1,1")
    ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    """
    if text in ("none", "data", "imagenet"):
        return {"none": AS_THEY_ARE, "data": None, "imagenet": (IMAGENET_MEAN, IMAGENET_STD)}[text]
    mean, colon, std = text.partition(":")
    try:
        means, stds = (tuple(float(number) for number in part.split(",")) for part in (mean, std))
    except ValueError:
        means, stds = (), ()
    if not colon or not means:
        expected = "expected none, data, imagenet or MEAN:STD, as in 0.5:0.25 or 0.5,0.4,0.4:0.25,0.2,0.2"
        raise StarcliError(f"--normalise {text}: {expected}")
    if not all(map(math.isfinite, (*means, *stds))) or min(stds) <= 0:
        raise StarcliError(f"--normalise {text}: expected finite numbers and standard deviations above 0")
    if len(means) != len(stds) and 1 not in (len(means), len(stds)):
        raise StarcliError(f"--normalise {text}: {len(means)} means and {len(stds)} standard deviations")
    channels = max(len(means), len(stds))
    return means * (channels // len(means)), stds * (channels // len(stds))


def normalise_words(mean: Sequence[float], std: Sequence[float]) -> str:
    """A normalisation as `parse_normalise` reads it, but for digits and channels that are left out.

    >>> normalise_words(IMAGENET_MEAN, IMAGENET_STD), normalise_words(*AS_THEY_ARE)
    ('0.485,0.456,0.406:0.229,0.224,0.225', '0:1')
    """
    return ":".join(few([f"{value:.4g}" for value in values], 3).replace(", ", ",") for values in (mean, std))


def same_statistics(
    one: tuple[Sequence[float], Sequence[float]], other: tuple[Sequence[float], Sequence[float]]
) -> bool:
    """Whether two normalisations are the same map, one number standing for all channels.

    >>> same_statistics(((0.5,), (1.0,)), ((0.5, 0.5), (1.0, 1.0)))
    True
    """
    return all(
        tuple(mine) * (len(theirs) if len(mine) == 1 else 1) == tuple(theirs) * (len(mine) if len(theirs) == 1 else 1)
        for mine, theirs in zip(one, other, strict=True)
    )
