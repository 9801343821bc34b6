"""Choices of network, data and device by the command line or a caller of the library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starcli.data.text_options import AS_THE_FILE_HAS_IT, TextOptions
from starcli.models.names import recorded_name

FLOATS = ("float32", "float64", "float16", "bfloat16")
"""Types that weights are written in where one is chosen."""


@dataclass(frozen=True)
class Choices:
    """Choices of the command line; None leaves it to the checkpoints' metadata."""

    arch: str | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    spec: Path | None = None
    unproved: bool = False
    data: str | None = None
    measures: bool = False
    """Whether models are only measured: that may be on other data than they were trained on."""
    train_data: str | None = None
    """Of what measures: the models' own data, where `data` are others, whose test split alone then counts."""
    data_dir: Path | None = None
    download: bool = False
    limit: int | None = None
    val_fraction: float | None = None
    split_seed: int | None = None
    image_size: int | None = None
    """Side of the squares that images of a folder are resized to."""
    normalise: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    tokenizer: Path | None = None
    length: int | None = None
    task: str | None = None
    class_names: tuple[str, ...] | None = None
    """Of texts: see `texts`."""
    device: str = "auto"
    precision: str = "fp32"
    fast: bool = False
    """Whether a GPU may take sums in another order each time."""
    threads: int | None = None
    input: str | None = None
    """Shape of an example input, batch included, of a network that has no data."""
    input_dtype: str | None = None
    average_buffers: bool | None = False
    """Whether buffers that differ between models, and that nothing computes anew, are averaged like weights.

    None: no, and nobody can choose it.
    """
    dtype: str | None = None
    """Type in which weights are written, one of `FLOATS`; None: each tensor in that of the models."""

    @property
    def arch_name(self) -> str | None:
        """The name of `arch` that checkpoints record."""
        return None if self.arch is None else recorded_name(self.arch)

    @property
    def texts(self) -> TextOptions:
        """How texts are read."""
        return TextOptions(
            self.text_column, self.label_column, self.tokenizer, self.length, self.task, named=self.class_names
        )

    @property
    def names_data(self) -> bool:
        """Whether anything is said of data, apart from where public ones lie."""
        return (
            self.download
            or any(
                each is not None
                for each in (
                    self.data,
                    self.train_data,
                    self.limit,
                    self.val_fraction,
                    self.split_seed,
                    self.image_size,
                    self.normalise,
                )
            )
            or self.texts != AS_THE_FILE_HAS_IT
        )
