"""`starcli cache`: show and clear what is kept between runs."""

import typer

from starcli.cli.framework.command import CommandGroup, command, register
from starcli.cli.framework.results import Column
from starcli.cli.options.common import Common


class CacheCommands(CommandGroup):
    """The commands about the cache."""

    examples = ("starcli cache show", "starcli cache clear")
    see = "README.md#commands"


cache_app = typer.Typer(
    cls=CacheCommands,
    add_help_option=False,
    help="The cache: barriers, averages, derived specs and proofs, each under a hash of all that decides it, in "
    "$XDG_CACHE_HOME/starcli, else ~/.cache/starcli. Without it the same is computed again; --no-cache of a command "
    "does without.",
    short_help="What is kept between runs: show, clear.",
)

_COLUMNS = (
    Column("kind", "kind"),
    Column("files", "results", ",d", main=True),
    Column("bytes", "bytes", ",d", main=True),
    Column("oldest", "oldest", "time", optional=1),
    Column("newest", "newest", "time"),
    Column("place", "in", optional=2),
)


@command(
    "starcli cache show",
    "starcli cache show --format markdown",
    see="README.md#commands",
)
def cache_show_command(common: Common) -> None:
    """Show what is kept, of which kinds, where, how large and how old it is."""
    from starcli.files.cache import cache_directory
    from starcli.files.cache_contents import cache_contents

    with common.session() as (watch, results):
        for found in (contents := cache_contents()):
            results.add("cache", found.to_dict(), _COLUMNS)
        if not contents:
            watch.note(f"nothing is kept in {cache_directory()}")


@command(
    "starcli cache clear",
    "starcli cache clear --json",
    see="README.md#commands",
)
def cache_clear_command(common: Common) -> None:
    """Remove what is kept, and show what it was. Other files stay, and commands that run meanwhile go on."""
    from starcli.files.cache import cache_directory
    from starcli.files.cache_contents import clear_cache

    with common.session() as (watch, results):
        for found in (removed := clear_cache()):
            results.add("cache_clear", found.to_dict(), _COLUMNS)
        if not removed:
            watch.note(f"nothing was kept in {cache_directory()}")


register(cache_app, {"show": cache_show_command, "clear": cache_clear_command})
