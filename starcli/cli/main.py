"""The program: its commands, and the group whose `invoke` is the one error boundary."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from starcli.cli import (
    align, barrier, bma, boundary, convert, eval, fuse, inspect, interpolate, permute, spec, star, train,
)  # fmt: skip
from starcli.cli.command import register
from starcli.cli.options import TracebackOpt

class Group(TyperGroup):
    """The program as a whole: whatever goes wrong in a command becomes words and an exit status here."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """The program's own words; a bare `starcli` shows the help."""
        if not args:
            return super().parse_args(ctx, args)
        return boundary.guard(lambda: super(Group, self).parse_args(ctx, args))

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command."""
        return boundary.guard(lambda: super(Group, self).invoke(ctx))

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """In the order of a pipeline, not of the alphabet."""
        return list(self.commands)


app = typer.Typer(
    name="starcli",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(value: bool) -> None:
    if value:
        from starcli import __version__

        typer.echo(f"starcli {__version__}")
        raise typer.Exit


@app.callback(epilog="[bold]Start here:[/bold]  bash examples/quickstart.sh")
def starcli(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True)
    ] = False,
    traceback: TracebackOpt = False,
) -> None:
    """Find the star domain of a network's solutions: train, align, connect, average and fuse neural networks.

    Every file carries what the next command needs, results are tables on a terminal and JSON lines in a pipe, and the
    same line typed again goes on where it was stopped.
    """


def main() -> None:
    """The console script."""
    app(prog_name="starcli")


for _function in (
    train.train, align.align, permute.permute, star.star, interpolate.interpolate, barrier.barrier, bma.bma, fuse.fuse,
    eval.eval_, inspect.inspect_, convert.convert,
):  # fmt: skip
    register(app, _function)
app.add_typer(spec.app, name="spec")
