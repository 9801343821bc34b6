"""The program: its commands, and the group whose `invoke` is the one error boundary."""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from starcli.cli import (
    align,
    barrier,
    bma,
    boundary,
    convert,
    eval,
    fuse,
    inspect,
    interpolate,
    permute,
    spec,
    star,
    train,
)
from starcli.cli.command import help_asked, register
from starcli.cli.help import page
from starcli.cli.options import TracebackOpt
from starcli.runtime import distributed


class Group(TyperGroup):
    """The program as a whole: whatever goes wrong in a command becomes words and an exit status here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The program's own words; a bare `starcli` shows the help."""
        if not args:
            return super().parse_args(ctx, args)
        help_asked(self, ctx, args[:1])
        return boundary.guard(lambda: super(Group, self).parse_args(ctx, args), last=False)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        return boundary.guard(lambda: super(Group, self).invoke(ctx))

    def get_help(self, ctx: Any) -> str:
        """The help page, where to begin in place of an example."""
        return page(self, ctx, "bash examples/quickstart.sh")

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of a pipeline, not of the alphabet."""
        return list(self.commands)


app = typer.Typer(
    name="starcli",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    add_help_option=False,  # `help_asked` answers, much sooner
    add_completion=False,  # as `completion` below, whose values need no conversion either
)


def _version(value: bool) -> None:
    if value:
        from starcli import __version__

        typer.echo(f"starcli {__version__}")
        raise typer.Exit


def _completion(name: str) -> Callable[[typer.Context, typer.CallbackParam, bool], None]:
    def call(ctx: typer.Context, param: typer.CallbackParam, value: bool) -> None:
        if value:
            from typer import completion

            _prepare_completion()
            getattr(completion, name)(ctx, param, value)

    return call


def _prepare_completion() -> None:
    """Let Typer know the shells; its own `add_completion` would do that at every start."""
    import typer.completion

    vars(typer.completion)["completion_init"]()


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
            callback=_completion("install_callback"),
            is_eager=True,
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            help="Print that completion for the shell instead.",
            callback=_completion("show_callback"),
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
    if "_STARCLI_COMPLETE" in os.environ:  # set by the shell while it asks for completions
        _prepare_completion()
    try:
        app(prog_name="starcli")
    except SystemExit as ended:
        if not isinstance(ended.code, str):
            distributed.end(int(ended.code or 0))
        raise


for _function in (
    train.train, align.align, permute.permute, star.star, interpolate.interpolate, barrier.barrier, bma.bma, fuse.fuse,
    eval.eval_, inspect.inspect_, convert.convert,
):  # fmt: skip
    register(app, _function)
app.add_typer(spec.app, name="spec")
