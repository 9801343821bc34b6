"""Which network, which data, which device: options of commands that measure models."""

import dataclasses
from typing import Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import bundle, leaving_out
from starcli.cli.options import checks
from starcli.cli.options.setup import LinesSetup, Setup
from starcli.cli.options.shared import NETWORK

TrainDataOpt = Annotated[
    str | None,
    typer.Option(
        "--train-data",
        metavar="NAME",
        help="The models' own data, where --data are others: for BatchNorm, temperatures, losses of training.",
        rich_help_panel=NETWORK,
    ),
    Checked(checks.data_set),
]


@leaving_out("spec", "unproved")
@bundle
@dataclasses.dataclass(frozen=True)
class EvalSetup(Setup):
    """Network and data of commands that look at each model alone, and match no units."""

    measures: bool = True
    train_data: TrainDataOpt = None


@bundle
@dataclasses.dataclass(frozen=True)
class MeasuredSetup(LinesSetup):
    """Network and data of commands that measure models and what lies between them."""

    measures: bool = True
    train_data: TrainDataOpt = None
