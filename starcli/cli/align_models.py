"""The models of `starcli align`: which of three things is done with them, and where what is made of them goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.alignment import MethodOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import ALIGNMENT, IN, OUT, ForceOpt, SeedOpt
from starcli.cli.outputs import output_paths, permutation_paths
from starcli.errors import StarcliError, option_of
from starcli.files.names import stem


def _but_with(*flags: str) -> Callable[[typer.Context, Any], Any]:
    """What refuses that nothing is said, unless one of `flags` is."""

    def check(context: typer.Context, value: Any) -> Any:
        if not value and not any(map(context.params.get, flags)) and not context.resilient_parsing:
            words = " and ".join(map(option_of, flags))
            raise typer.BadParameter(f"none is given, and only {words} {'do' if len(flags) > 1 else 'does'} without")
        return value

    return check


@bundle
@dataclass(frozen=True, kw_only=True)
class AlignModels:
    """The models that the command line names, and what is made of them: aligned, tried out, or in normal form."""

    reference: Annotated[Path, typer.Argument(metavar="REF", help="The model to align to; - is stdin."), IN]
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL...", callback=_but_with("selftest", "normal_form"), help="Checkpoints, or a quoted pattern."
        ),
        IN,
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            callback=_but_with("selftest"),
            help="File to write; - is stdout; {name} varies.",
        ),
        OUT,
    ] = None
    seed: SeedOpt = 0
    permutation: Annotated[
        Path | None,
        typer.Option("--permutation", metavar="FILE", help="Write the permutation too; {name} varies."),
        OUT,
    ] = None
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            rich_help_panel=ALIGNMENT,
            help="Align REF and all models together, each to the mean of the others; --restarts are starts then.",
        ),
    ] = False
    bound: Annotated[
        bool,
        typer.Option(
            "--bound",
            rich_help_panel=ALIGNMENT,
            help="Of weight: say how high the objective could be at most, whatever the permutation; takes seconds.",
        ),
    ] = False
    selftest: Annotated[
        bool,
        typer.Option(
            "--selftest",
            is_eager=True,
            rich_help_panel=ALIGNMENT,
            help="Plant symmetries in copies of REF, say how many units come back; by each --method that does not "
            "learn.",
        ),
    ] = False
    plants: Annotated[
        int | None,
        typer.Option(
            "--plants",
            min=1,
            metavar="N",
            rich_help_panel=ALIGNMENT,
            help="Of --selftest: number of copies (default 3).",
        ),
    ] = None
    normal_form: Annotated[
        bool,
        typer.Option(
            "--normal-form",
            is_eager=True,
            rich_help_panel=ALIGNMENT,
            help="Align nothing: write REF and each MODEL with norms folded, scales and factors balanced; same "
            "functions.",
        ),
    ] = False
    force: ForceOpt = False

    def check(self, common: CommonPlanned, setup: WriterSetup, how: MethodOptions) -> None:
        """Refuse options that have no meaning for what is asked for."""
        ways: dict[str, Any] = {"--joint": self.joint, "--bound": self.bound}
        written = {"MODEL": self.models, "--output": self.output, "--permutation": self.permutation}
        if self.selftest:
            said: dict[str, Any] = {**written, "--dtype": setup.dtype, **ways, "--normal-form": self.normal_form}
            said |= {"--force": self.force, "--dry-run": common.dry_run}
            _refuse("--selftest is of REF alone and writes nothing", said)
        elif self.normal_form:
            said = {"--method and its options": how != MethodOptions(), **ways, "--plants": self.plants}
            said |= {"--seed": self.seed}
            _refuse("--normal-form aligns nothing", said)
        elif self.plants is not None:
            raise StarcliError("--plants is of --selftest")

    @property
    def inputs(self) -> list[Path]:
        """All files that are read."""
        return [self.reference, *(self.models or [])]

    def outputs(self) -> tuple[list[Path], list[Path]]:
        """The file of each model that is written, and where asked for the file of what acted on it."""
        assert self.output is not None  # the option sees to it
        names = [{"name": stem(path)} for path in (self.inputs if self.normal_form else self.models or [])]
        paths = output_paths(self.output, names, self.inputs)
        return paths, permutation_paths(self.permutation, names, self.inputs, paths)


def _refuse(reason: str, said: dict[str, Any]) -> None:
    if unwanted := [word for word, value in said.items() if value]:
        raise StarcliError(f"{reason}: leave out {', '.join(unwanted)}")
