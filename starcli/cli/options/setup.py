"""Which network, which data, which device: options that always go together."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle, leaving_out
from starcli.cli.options import checks
from starcli.cli.options.shared import (
    DEVICES,
    GENERAL,
    NETWORK,
    AverageBuffersOpt,
    a_device,
    choice_of,
    names_of,
    words_of,
)
from starcli.cli.options.values import pairs
from starcli.data.public_files import TORCHVISION_NAMES, need_public
from starcli.registry.architectures import ARCHITECTURES
from starcli.registry.data_sets import DATASETS
from starcli.registry.tasks import TASKS
from starcli.runtime.arithmetic import PRECISIONS
from starcli.workspace.choices import FLOATS, Choices

if TYPE_CHECKING:
    from starcli.recipes.recipe import Recipe


@bundle
@dataclasses.dataclass(frozen=True)
class Setup(Choices):
    """The choices of a command, declared as its options; what is left out, the checkpoints say."""

    average_buffers: bool | None = None  # a command that lacks the option does not speak of it

    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="NAME",
            help="Architecture, where the file does not say it: a name, package.module:NAME or FILE.py:NAME.",
            rich_help_panel=NETWORK,
            autocompletion=names_of(ARCHITECTURES, "torchvision:", "timm:"),
        ),
        Checked(checks.architecture),
    ] = None
    # words at first, a mapping once they are read
    arch_args: Annotated[
        list[str] | None,
        typer.Option("--arch-arg", metavar="K=V...", help="Its arguments, such as width=16.", rich_help_panel=NETWORK),
    ] = None  # type: ignore[assignment]
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec", metavar="FILE", help="Permutation spec, instead of the known one.", rich_help_panel=NETWORK
        ),
        Checked(checks.spec),
    ] = None
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Use the spec without its proof.", rich_help_panel=NETWORK)
    ] = False
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="Data set: a name, a folder of images or of MNIST's files, FILE.npz, text:FILE.csv, FILE.py:NAME.",
            rich_help_panel=NETWORK,
            autocompletion=names_of(DATASETS),
        ),
        Checked(checks.data_set),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            envvar="STARCLI_DATA_DIR",
            help="Where public data sets lie; else $STARCLI_DATA_DIR, else data.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a public data set that is not there.", rich_help_panel=NETWORK)
    ] = False
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            help="Only the first N training examples, even over classes; all, where there are no more.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    val_fraction: Annotated[
        float | None,
        typer.Option(
            "--val-fraction", min=0, max=0.99, help="Share of the training data held back.", rich_help_panel=NETWORK
        ),
    ] = None
    split_seed: Annotated[
        int | None,
        typer.Option("--split-seed", min=0, help="Seed of that split (default 0).", rich_help_panel=NETWORK),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            min=1,
            max=4096,
            metavar="N",
            help="Side to which images of a folder are resized (default: as recorded, else theirs, 224 at most).",
            rich_help_panel=NETWORK,
        ),
    ] = None
    normalise: Annotated[
        str | None,
        typer.Option(
            "--normalise",
            metavar="HOW",
            help="none, data, imagenet or MEAN:STD, as 0.5:0.25.",
            rich_help_panel=NETWORK,
            autocompletion=words_of("none", "data", "imagenet"),
        ),
        Checked(checks.normalisation),
    ] = None
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column", metavar="NAME", help="Column of the texts (default text).", rich_help_panel=NETWORK
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            "--label-column",
            metavar="NAME",
            help="Column of what is predicted (default label), A,B of table:FILE; texts without are for next tokens.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="FILE",
            help="Hugging Face's tokenizer.json (default: tokens are bytes).",
            rich_help_panel=NETWORK,
        ),
    ] = None
    length: Annotated[
        int | None,
        typer.Option(
            "--length",
            min=2,
            metavar="N",
            help="Tokens of a text that are read (default: as recorded, else the longest, 128 at most).",
            rich_help_panel=NETWORK,
        ),
    ] = None
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="What is predicted: classes, next-token, masked-token, regression, multi-label (else as labels look).",
            rich_help_panel=NETWORK,
            autocompletion=names_of(TASKS),
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto (a GPU of NVIDIA's or AMD's, else the CPU), cpu, cuda (cuda:1 is the second) or mps (Apple's).",
            rich_help_panel=GENERAL,
            autocompletion=words_of(*DEVICES),
            callback=a_device,
        ),
    ] = "auto"
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="fp32, tf32 (GPUs: float32 rounded in products), or bf16 for autocast.",
            rich_help_panel=GENERAL,
            **choice_of("precision", *PRECISIONS),
        ),
    ] = "fp32"
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="On a GPU, take the fastest sums: runs no longer end with the same bytes.",
            rich_help_panel=GENERAL,
        ),
    ] = False
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="CPU threads (default: all, one for a small network).", rich_help_panel=GENERAL
        ),
    ] = None

    def __post_init__(self) -> None:
        if not isinstance(self.arch_args, Mapping):
            object.__setattr__(self, "arch_args", pairs(self.arch_args or []))
        if self.data is not None and self.data in TORCHVISION_NAMES and not self.download:
            need_public(self.data, self.data_dir)

    def behind(self, recipe: "Recipe") -> "Setup":
        """These choices, and where they say nothing, what a recipe says of a new network and its data."""
        arch, arguments = self.arch, dict(cast(Mapping[str, Any], self.arch_args))
        if recipe.arch is not None and arch in (None, recipe.arch):
            arch, arguments = recipe.arch, {**recipe.arch_args, **arguments}
        val_fraction = recipe.val_fraction if self.val_fraction is None else self.val_fraction
        data = self.data or recipe.data or "digits"
        return dataclasses.replace(
            self, arch=arch, arch_args=cast(Any, arguments), data=data, val_fraction=val_fraction
        )


@bundle
@dataclasses.dataclass(frozen=True)
class NetworkSetup(Setup):
    """Network and device of commands that do without data: an example input takes their place."""

    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="1,3,224,224",
            help="Shape of an input, batch included, of a network without data.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    input_dtype: Annotated[
        str | None,
        typer.Option(
            "--input-dtype",
            metavar="TYPE",
            help="float32, or int64 for tokens.",
            rich_help_panel=NETWORK,
            **choice_of("type", "float32", "int64"),
        ),
    ] = None


@leaving_out("spec", "unproved", "limit", "val_fraction", "split_seed", "normalise", "device", "precision", "fast")
@bundle
@dataclasses.dataclass(frozen=True)
class SpecSetup(NetworkSetup):
    """The network of commands about specs: with an example of its inputs, in float64 on the CPU."""


@bundle
@dataclasses.dataclass(frozen=True)
class LinesSetup(Setup):
    """Network and data of commands that measure or train on lines between models."""

    average_buffers: AverageBuffersOpt = False


@bundle
@dataclasses.dataclass(frozen=True)
class WriterSetup(NetworkSetup):
    """Network and data of commands that write the weights that they are given, in a type of choice."""

    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="Type of the weights written: float32, float64, float16 or bfloat16; else as given.",
            rich_help_panel=GENERAL,
            **choice_of("type", *FLOATS),
        ),
    ] = None


@bundle
@dataclasses.dataclass(frozen=True)
class PointSetup(WriterSetup):
    """Network and data of commands that make points between models, which may need no data."""

    average_buffers: AverageBuffersOpt = False
