"""The program: its commands, and the group whose `invoke` is the one error boundary."""

from typing import Annotated, Any

import typer

from starcli.cli.commands.align import align_command
from starcli.cli.commands.barrier import barrier_command
from starcli.cli.commands.bma import bma_command
from starcli.cli.commands.cache import cache_app
from starcli.cli.commands.convert import convert_command
from starcli.cli.commands.curve import curve_command
from starcli.cli.commands.eval import eval_command
from starcli.cli.commands.fuse import fuse_command
from starcli.cli.commands.inspect import inspect_command
from starcli.cli.commands.interpolate import interpolate_command
from starcli.cli.commands.permute import permute_command
from starcli.cli.commands.plane import plane_command
from starcli.cli.commands.plot import plot_command
from starcli.cli.commands.predict import predict_command
from starcli.cli.commands.report import report_command
from starcli.cli.commands.spec import spec_app
from starcli.cli.commands.star import star_command
from starcli.cli.commands.surface import surface_command
from starcli.cli.commands.train import train_command
from starcli.cli.framework import completion
from starcli.cli.framework.command import CommandGroup, register
from starcli.cli.framework.errors import guard
from starcli.cli.framework.typed_line import remember_line
from starcli.cli.options.shared import TracebackOpt
from starcli.runtime import distributed
from starcli.runtime.garbage import put_off_garbage_collection
from starcli.runtime.stdout import prepare_streams


class Program(CommandGroup):
    """The program as a whole: whatever goes wrong in a command becomes words and an exit status here."""

    examples = (
        "starcli train --arch resnet --data digits --seeds 0-4 -o '{seed}.safetensors'",
        "starcli star --sources [0-2].safetensors -o star.safetensors",
        "starcli barrier --star star.safetensors --sources [0-2].safetensors --held-out [34].safetensors "
        "--align weight",
    )
    see = "docs/tutorial.md"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The program's own words; a bare `starcli` shows the help."""
        remember_line(args)
        return guard(lambda: super(Program, self).parse_args(ctx, args), last=False)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        return guard(lambda: super(Program, self).invoke(ctx))


app = typer.Typer(
    name="starcli",
    cls=Program,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    add_help_option=False,  # `show_help_if_asked` answers, much sooner
    add_completion=False,  # as `completion_option` does, whose values need no conversion either
)


def _version(value: bool) -> None:
    if value:
        from starcli.version import __version__

        typer.echo(f"starcli {__version__}")
        raise typer.Exit


@app.callback()
def starcli(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True)
    ] = False,
    traceback: TracebackOpt = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            help="Let this shell complete commands, options and names.",
            callback=completion.completion_option("install_callback"),
            is_eager=True,
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            help="Print that completion for the shell instead.",
            callback=completion.completion_option("show_callback"),
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Find the star domain of a network's solutions: train, align, connect, average and fuse neural networks.

    Every file carries what the next command needs, results are tables on a terminal and JSON lines in a pipe, and the
    same line typed again goes on where it was stopped.
    """


def main() -> None:
    """The console script."""
    prepare_streams()
    put_off_garbage_collection()
    completion.prepare_answer()
    try:
        app(prog_name="starcli")
    except SystemExit as ended:
        if not isinstance(ended.code, str):
            distributed.end_process(int(ended.code or 0))
        raise


register(
    app,
    {
        "train": train_command,
        "align": align_command,
        "permute": permute_command,
        "star": star_command,
        "curve": curve_command,
        "interpolate": interpolate_command,
        "barrier": barrier_command,
        "plane": plane_command,
        "surface": surface_command,
        "bma": bma_command,
        "fuse": fuse_command,
        "eval": eval_command,
        "predict": predict_command,
        "plot": plot_command,
        "report": report_command,
        "inspect": inspect_command,
        "convert": convert_command,
    },
)
app.add_typer(spec_app, name="spec")
app.add_typer(cache_app, name="cache")
