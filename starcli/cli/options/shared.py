"""Single options of more than one command, each declared once.

A command names an option by its annotation and states the default. What always goes together is a bundle, in a file of
its own beside this one; what one command alone has stands with the command.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from starcli.cli.framework import errors
from starcli.cli.framework.checked import Checked
from starcli.cli.options import checks
from starcli.registry.alignment_methods import METHODS
from starcli.registry.entry import Entry
from starcli.registry.run_logs import RUN_LOGS
from starcli.registry.samplings import SAMPLINGS

# -- completion --------------------------------------------------------------------------------------------------------


def names_of(table: Mapping[str, Entry], *more: str) -> Callable[[str], list[tuple[str, str]]]:
    """Completion of the names in a registry table, each with its line of help."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        known = [(name, entry.help) for name, entry in table.items()] + [(name, "") for name in more]
        return [(name, text) for name, text in known if name.startswith(incomplete)]

    return complete


def recipe_names(incomplete: str) -> list[tuple[str, str]]:
    """Completion of shipped recipes."""
    from starcli.recipes.shipped import shipped_recipes

    return [(name, text) for name, text in shipped_recipes().items() if name.startswith(incomplete)]


def words_of(*known: str) -> Callable[[str], list[str]]:
    """Completion of a few fixed words."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def one_of(kind: str, *known: str) -> Callable[[str | None], str | None]:
    """A callback that refuses words other than `known`, with a suggestion."""
    from starcli.errors import suggestion

    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"unknown {kind} {value!r}{suggestion(value, known)}")
        return value

    return check


def choice_of(kind: str, *known: str) -> dict[str, Any]:
    """Keywords of an option that takes one of a few fixed words, which are completed; others are refused."""
    return {"autocompletion": words_of(*known), "callback": one_of(kind, *known)}


def choice_in(kind: str, table: Mapping[str, Entry], *more: str) -> dict[str, Any]:
    """Keywords of an option that takes a name of a registry table, or one of a few words more; others are refused."""
    return {"autocompletion": names_of(table, *more), "callback": one_of(kind, *table, *more)}


DEVICES = ("auto", "cpu", "cuda", "mps")
"""Words of `--device`."""


def a_device(value: str) -> str:
    """A callback that refuses words which are no device; one of several GPUs is chosen by its number."""
    kind, _, number = value.partition(":")
    if value not in DEVICES and not (kind == "cuda" and number.isdecimal()):
        # all of them: the nearest word to gpu is cpu
        raise typer.BadParameter(f"unknown device {value!r}; there is {', '.join(DEVICES)}, of GPUs also cuda:1")
    return value


def a_sampling(value: str) -> str:
    """A callback that refuses unknown names of ways to draw t; the numbers after a colon are read later."""
    one_of("sampling", *SAMPLINGS)(value.partition(":")[0])
    return value


# -- arguments and options of more than one command --------------------------------------------------------------------

IN, OUT = Checked(checks.input_files), Checked(checks.output_place, writes=True)
ONE_OUT = Checked(checks.one_output, writes=True)
"""Marks of options that are files to read, files to write by a template, and one file to write."""

ModelArg = Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint; - reads it from stdin."), IN]
ModelsArg = Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Checkpoints, or a quoted pattern."), IN]


def _template_option(words: str) -> Any:
    return typer.Option("--output", "-o", metavar="FILE", help=f"File to write; - is stdout; {words}.")


NamedOutputOpt = Annotated[Path, _template_option("{name} varies"), OUT]
SeededOutputOpt = Annotated[Path, _template_option("{seed} varies"), OUT]
RenamedOutputOpt = Annotated[Path, _template_option("{name} and {seed} vary"), OUT]
PointOutputOpt = Annotated[Path, _template_option("{t} and {seed} vary"), OUT]
"""Outputs of commands that may write several files, by what tells these apart."""

SourcesOpt = Annotated[
    list[Path],
    typer.Option("--sources", metavar="MODEL...", help="The solutions to work from, or a quoted pattern."),
    IN,
]
HeldOutOpt = Annotated[
    list[Path] | None, typer.Option("--held-out", metavar="MODEL...", help="Solutions that the star never saw."), IN
]
CurveOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--curve", metavar="BEND...", help="Go by way of the bends of this curve; straight lines join other models."
    ),
    IN,
]
StarOpt = Annotated[Path, typer.Option("--star", metavar="MODEL", help="The star."), IN]
SeedOpt = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]
SeedsOpt = Annotated[
    list[str] | None,
    typer.Option("--seeds", metavar="0-7...", help="Several seeds, as 0-7 or 0,3,5; the output varies by {seed}."),
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Overwrite what exists.")]
ForceRunOpt = Annotated[bool, typer.Option("--force", help="Overwrite what exists, start anew where a state is found.")]
"""Of what makes a file at once, and of runs that keep a state."""
ALIGNMENT, NETWORK, TRAINING, GENERAL = "Alignment", "Network and data", "Training", "General"
MERGING = "Merging"
"""Headings of the help page."""

MethodOpt = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="weight (default); activation: also what units compute; straight-through, sinkhorn, learn: learned.",
        rich_help_panel=ALIGNMENT,
        **choice_in("method", METHODS),
    ),
]
AlignOpt = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="METHOD",
        help="weight; activation: also what units compute on training examples; straight-through, sinkhorn: learned on "
        "the loss half way; learn: the same over all kinds of symmetry; none: files as they are.",
        rich_help_panel=ALIGNMENT,
        **choice_in("method", METHODS, "none"),
    ),
]
FuseAlignOpt = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="METHOD",
        help="As of star (default activation); with --base the sources are aligned to it (default none).",
        rich_help_panel=ALIGNMENT,
        **choice_in("method", METHODS, "none"),
    ),
]
RestartsOpt = Annotated[
    int,
    typer.Option(
        "--restarts",
        min=0,
        help="Rounds of the search: more match better, 0 is one plain descent.",
        rich_help_panel=ALIGNMENT,
    ),
]
PointsOpt = Annotated[
    int, typer.Option("--points", min=3, max=1_000_000, help="Points on the line, both ends included; at least 3.")
]
GridOpt = Annotated[
    int,
    typer.Option("--points", min=3, max=1_000, help="Points on each side of the grid: N x N are measured; at least 3."),
]
StatisticsOpt = Annotated[
    str,
    typer.Option(
        "--statistics",
        help="BatchNorm statistics of the ends: recalibrate (as of all between) or own-ends (the paper's way).",
        **choice_of("way", "recalibrate", "own-ends"),
    ),
]
SplitOpt = Annotated[
    str,
    typer.Option(
        "--split",
        help="validation or test; choose by the first, report the second.",
        **choice_of("split", "validation", "test"),
    ),
]
TemperatureOpt = Annotated[
    str | None,
    typer.Option(
        "--temperature",
        metavar="T|fit",
        help="Show metrics at this temperature too; fit: the one with the least loss on the validation split.",
        autocompletion=words_of("fit"),
    ),
]
AverageBuffersOpt = Annotated[
    bool,
    typer.Option(
        "--average-buffers",
        rich_help_panel=NETWORK,
        help="Between models, average buffers that nothing computes anew (codebooks, scales); else an error.",
    ),
]
RepeatsOpt = Annotated[
    int, typer.Option("--repeats", min=1, max=1_000_000, help="How often everything random is drawn anew.")
]
RecalibrateOpt = Annotated[bool, typer.Option("--recalibrate", help="Re-estimate BatchNorm statistics first.")]
RecipeOpt = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME|FILE", help="Settings by shipped name or from a YAML file; flags win.",
        autocompletion=recipe_names,
    ),
    Checked(checks.recipe),
]  # fmt: skip
EveryOpt = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-every", metavar="SECONDS", min=0, help="Save the state this often too, not only each epoch."
    ),
]
LogsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="LOG...",
        help="Log the curves there too: csv, tensorboard:DIR, wandb or wandb:PROJECT, mlflow:DIR.",
        autocompletion=names_of(RUN_LOGS),
    ),
    Checked(checks.logs),
]
SamplingOpt = Annotated[
    str,
    typer.Option(
        "--sampling", metavar="NAME", autocompletion=names_of(SAMPLINGS), callback=a_sampling,
        help="How t is drawn: uniform, beta or beta:A,B, constant or constant:T, midpoint; of averages also ends.",
    ),
]  # fmt: skip
SyncOpt = Annotated[
    bool,
    typer.Option("--sync-batchnorm", help="Under torchrun: BatchNorm statistics of whole batches, as of one process."),
]
TracebackOpt = Annotated[
    bool,
    typer.Option("--traceback", help="Show where an error arose.", callback=errors.show_traceback, is_eager=True),
]
