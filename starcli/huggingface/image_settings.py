"""How images become inputs, as the settings beside a model say it. Needs no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from starcli.errors import StarcliError

_FLIPPED = "do_flip_channel_order"
"""Written where channels are blue, green, red: by processors which never normalise, whatever mean they write."""

_OF_TRANSFORMERS = {"image_mean", "image_std", "do_normalize", "do_rescale", "rescale_factor"}
"""Keys of a processor of `transformers`; timm writes `mean` and `std`."""

_ROUNDING = 1e-6
"""Part by which 255 times a `rescale_factor` of 1 / 255 differs from 1, with as few digits as some are written."""

_RESIZING = (
    "interpolation", "crop_pct", "crop_mode", "size", "resample", "do_center_crop", "crop_size", "rescale_factor",
)  # fmt: skip
"""What settings may say of how images are brought to their size."""


@dataclass(frozen=True)
class ImageSettings:
    """Settings of an image processor of `transformers`, or the `pretrained_cfg` of timm; empty where there are none.

    >>> found = ImageSettings({"image_mean": [0.5], "image_std": [0.25], "rescale_factor": 1 / 127.5, "size": 16})
    >>> found.normalise, found.side
    ('0.25:0.125', 16)
    """

    said: Mapping[str, Any]

    @property
    def normalise(self) -> str | None:
        """How images are normalised, as `--normalise` says it, where the settings tell.

        An input is (f x - m) / s of bytes x, f the `rescale_factor`, m and s mean and deviation; with `rescale_offset`
        (f x - 1 - m) / s; with `include_top`, as EfficientNet's own are, divided by s once more. So of x / 255 the mean
        is m / (255 f), the deviation s / (255 f). Without `do_rescale` f is 1 where some m is above 1; else images were
        scaled before, and m and s are those of x / 255.
        """
        said = self.said
        named = said.get("mean", said.get("image_mean")), said.get("std", said.get("image_std"))
        rescales = said.get("do_rescale", True)
        if not said.get("do_normalize", _FLIPPED not in said) and rescales:
            named = 0.0, 1.0
        elif not named[0] or not named[1] or said.get("do_normalize") is False:
            return None
        means, stds = (_numbers(each) for each in named)
        factors = _numbers(said.get("rescale_factor") or 1 / 255)
        if len(factors) != 1 or not factors[0] > 0:
            raise StarcliError(f"the settings of images have a rescale_factor of {factors}, expected a number above 0")
        span = 255 * factors[0] if rescales else 255.0 if max(means) > 1 else 1.0
        if said.get("rescale_offset") and rescales:
            means = [mean + 1 for mean in means]
        if said.get("include_top"):
            again = _numbers(said.get("image_std") or 1.0)
            count = max(len(stds), len(again))
            stds = [std * other for _, std, other in zip(range(count), cycle(stds), cycle(again), strict=False)]
        if abs(span - 1) < _ROUNDING:
            span = 1.0
        return ":".join(",".join(str(number / span) for number in each) for each in (means, stds))

    def normalising(self, mean: Sequence[float], std: Sequence[float]) -> Mapping[str, Any]:
        """The settings where inputs are (x / 255 - mean) / std of bytes x.

        >>> ImageSettings({"mean": [0.5], "std": [0.5], "crop_pct": 0.9}).normalising([0.25], [0.125])
        {'mean': [0.25], 'std': [0.125], 'crop_pct': 0.9}
        """
        if not _OF_TRANSFORMERS & self.said.keys():
            return {**self.said, "mean": [*mean], "std": [*std]}
        once = {key: False for key in ("rescale_offset", "include_top") if key in self.said}
        bytes_scaled = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
        return {**self.said, **once, **bytes_scaled, "image_mean": [*mean], "image_std": [*std]}

    @property
    def side(self) -> int | None:
        """Side of the square that images are cut or resized to, where the settings tell."""
        said = self.said
        if said.get("do_center_crop") and said.get("crop_size"):
            return _side(said["crop_size"])
        return _side(said.get("size")) if said.get("do_resize", True) else None

    @property
    def flips_channels(self) -> bool:
        """Whether channels are blue, green, red."""
        return bool(self.said.get(_FLIPPED))

    @property
    def resizing(self) -> str:
        """How images were brought to their size, in the settings' own words; nothing where they do not tell."""
        return ", ".join(f"{key} {json.dumps(self.said[key])}" for key in _RESIZING if self.said.get(key) is not None)


def _numbers(value: object) -> list[float]:
    numbers: list[Any] = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(each, int | float) and abs(each) < 1e100 for each in numbers):
        raise StarcliError(f"the settings of images have {json.dumps(value)[:60]}, expected numbers")
    return [float(each) for each in numbers]


def _side(size: object) -> int | None:
    """The side of a square, which is written as a number or in a table; None of anything else."""
    if isinstance(size, Mapping):
        sides = [size[key] for key in ("height", "width", "shortest_edge") if size.get(key) is not None]
        size = sides[0] if sides and sides == sides[:1] * len(sides) else None
    return size if isinstance(size, int) and 0 < size < 2**31 else None
