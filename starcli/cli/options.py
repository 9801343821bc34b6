"""Every option of every command, declared once.

A command names an option by its annotation and states the default; options that always go together come as bundles.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli import registry
from starcli.cli import bars, boundary, output
from starcli.cli.command import bundle
from starcli.errors import StarcliError

if TYPE_CHECKING:
    from starcli.training.recipe import Recipe
    from starcli.workspace import Choices

NETWORK, TRAINING, GENERAL = "Network and data", "Training", "General"


# -- completion --------------------------------------------------------------------------------------------------------


def names_of(table: Mapping[str, registry.Entry], *more: str) -> Callable[[str], list[tuple[str, str]]]:
    """Completion of the names in a registry table, each with its line of help."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        known = [(name, entry.help) for name, entry in table.items()] + [(name, "") for name in more]
        return [(name, text) for name, text in known if name.startswith(incomplete)]

    return complete


def recipe_names(incomplete: str) -> list[tuple[str, str]]:
    """Completion of shipped recipes."""
    from starcli.recipes import shipped

    return [(name, text) for name, text in shipped().items() if name.startswith(incomplete)]


def words(*known: str) -> Callable[[str], list[str]]:
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


# -- arguments and options of more than one command --------------------------------------------------------------------

ModelArg = Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint; - reads it from stdin.")]
ModelsArg = Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Checkpoints, or a quoted pattern.")]
OutputOpt = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; - is stdout; {name}, {seed} or {t} vary.")
]
SourcesOpt = Annotated[
    list[Path], typer.Option("--sources", metavar="MODEL...", help="The solutions to work from, or a quoted pattern.")
]
HeldOutOpt = Annotated[
    list[Path] | None, typer.Option("--held-out", metavar="MODEL...", help="Solutions that the star never saw.")
]
StarOpt = Annotated[Path, typer.Option("--star", metavar="MODEL", help="The star.")]
SeedOpt = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]
SeedsOpt = Annotated[
    str | None, typer.Option("--seeds", metavar="0-7", help="Several seeds, as 0-7 or 0,3,5; the output varies by {seed}.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Overwrite what exists, start anew where a state is found.")]
MethodOpt = Annotated[
    str,
    typer.Option(
        "--method", help="How to align.", autocompletion=names_of(registry.METHODS), callback=one_of("method", *registry.METHODS)
    ),
]
AlignOpt = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="METHOD",
        help="Align first, by this method; none takes the files as they are.",
        autocompletion=names_of(registry.METHODS, "none"),
        callback=one_of("method", *registry.METHODS, "none"),
    ),
]
RestartsOpt = Annotated[
    int, typer.Option("--restarts", min=1, help="Searches from random starts; the best by objective is kept.")
]
PointsOpt = Annotated[int, typer.Option("--points", min=2, help="Points on the line, both ends included.")]
StatisticsOpt = Annotated[
    str,
    typer.Option(
        "--statistics",
        help="BatchNorm statistics of the ends: recalibrate (as of all between) or own-ends (the paper's way).",
        autocompletion=words("recalibrate", "own-ends"),
        callback=one_of("way", "recalibrate", "own-ends"),
    ),
]
PlotOpt = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw a figure: a .png, .svg or .pdf file.")
]
RepeatsOpt = Annotated[int, typer.Option("--repeats", min=1, help="How often everything random is drawn anew.")]
RecipeOpt = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME|FILE", help="Settings by shipped name or from a YAML file; flags win.",
        autocompletion=recipe_names,
    ),
]  # fmt: skip
EveryOpt = Annotated[
    float | None,
    typer.Option("--checkpoint-every", metavar="SECONDS", min=0, help="Save the state this often too, not only each epoch."),
]
SamplingOpt = Annotated[
    str,
    typer.Option(
        "--sampling", help="How t is drawn.", autocompletion=names_of(registry.SAMPLINGS),
        callback=one_of("sampling", *registry.SAMPLINGS),
    ),
]  # fmt: skip
RealignOpt = Annotated[
    str, typer.Option("--realign-every", metavar="epoch|K|never", help="When the sources are aligned to the star anew.")
]
AlignedSourcesOpt = Annotated[
    Path | None,
    typer.Option("--aligned-sources", metavar="DIR", help="Keep the sources as training permuted them at the end."),
]
InitOpt = Annotated[
    Path | None, typer.Option("--init", metavar="MODEL", help="Begin at this model instead of random weights.")
]
EvalEveryOpt = Annotated[
    int | None,
    typer.Option("--eval-every", metavar="K", min=1, help="Log the barrier to the held-out models every K epochs."),
]
TracebackOpt = Annotated[
    bool, typer.Option("--traceback", help="Show where an error arose.", callback=boundary.show_traceback, is_eager=True)
]


# -- bundles -----------------------------------------------------------------------------------------------------------


@bundle
@dataclasses.dataclass
class Common:
    """What every command has: the form of its results and how much it says."""

    json: Annotated[bool, typer.Option("--json", help="Results as JSON lines.", rich_help_panel=GENERAL)] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes, only results and errors.", rich_help_panel=GENERAL)
    ] = False
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback", help="Show where an error arose.", callback=boundary.show_traceback, is_eager=True,
            rich_help_panel=GENERAL,
        ),
    ] = False  # fmt: skip

    @contextlib.contextmanager
    def session(self, to: Path | None = None) -> Iterator[tuple[bars.Bars, output.Results]]:
        """The watcher of this command's long work, and its results, which go to stderr where `to` is stdout."""
        results = output.Results(json_lines=self.json, to_stderr=to is not None and str(to) == "-")
        with bars.Bars(quiet=self.quiet) as watch, results:
            yield watch, results


@bundle
@dataclasses.dataclass
class Setup:
    """What network on what data, and where it runs; left out, the checkpoints say it."""

    arch: Annotated[
        str | None,
        typer.Option(
            "--arch", metavar="NAME", help="Architecture, where the file does not say it.", rich_help_panel=NETWORK,
            autocompletion=names_of(registry.ARCHITECTURES, "torchvision:", "timm:"),
        ),
    ] = None
    arch_arg: Annotated[
        list[str] | None,
        typer.Option("--arch-arg", metavar="K=V...", help="Its arguments, such as width=16.", rich_help_panel=NETWORK),
    ] = None
    spec: Annotated[
        Path | None,
        typer.Option("--spec", metavar="FILE", help="Permutation spec, instead of the known one.", rich_help_panel=NETWORK),
    ] = None
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Use the spec without its proof.", rich_help_panel=NETWORK)
    ] = False
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="NAME", help="Data set: a name, idx:DIR, folder:DIR or FILE.npz.", rich_help_panel=NETWORK,
            autocompletion=names_of(registry.DATASETS),
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where public data sets lie.", rich_help_panel=NETWORK),
    ] = None
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a public data set that is not there.", rich_help_panel=NETWORK)
    ] = False
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Only the first N examples of each split.", rich_help_panel=NETWORK),
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
    device: Annotated[
        str,
        typer.Option(
            "--device", help="auto, cpu, cuda or mps.", rich_help_panel=GENERAL,
            autocompletion=words("auto", "cpu", "cuda", "mps"), callback=one_of("device", "auto", "cpu", "cuda", "mps"),
        ),
    ] = "auto"
    precision: Annotated[
        str,
        typer.Option(
            "--precision", help="fp32, or bf16 for autocast.", rich_help_panel=GENERAL,
            autocompletion=words("fp32", "bf16"), callback=one_of("precision", "fp32", "bf16"),
        ),
    ] = "fp32"
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads (default: all).", rich_help_panel=GENERAL)
    ] = None  # fmt: skip

    def choices(self, recipe: "Recipe | None" = None) -> "Choices":
        """These flags, with what a recipe says of network and data behind them; sets the number of threads."""
        import torch

        from starcli.workspace import Choices

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        arguments = pairs(self.arch_arg or [])
        arch, data, val_fraction = self.arch, self.data, self.val_fraction
        if recipe is not None:
            if recipe.arch is not None and arch in (None, recipe.arch):
                arch, arguments = recipe.arch, {**recipe.arch_args, **arguments}
            data = data or recipe.data
            val_fraction = recipe.val_fraction if val_fraction is None else val_fraction
        return Choices(
            arch, arguments, self.spec, self.unproved, data, self.data_dir, self.download, self.limit, val_fraction,
            self.split_seed, self.device, self.precision,
        )  # fmt: skip


@bundle
@dataclasses.dataclass
class Training:
    """The settings of a recipe as flags; None leaves them to the recipe."""

    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.", rich_help_panel=TRAINING)] = None
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples a step.", rich_help_panel=TRAINING)] = None
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="sgd, adam or adamw.", rich_help_panel=TRAINING, autocompletion=names_of(registry.OPTIMIZERS)
        ),
    ] = None
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=TRAINING)] = None
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd.", rich_help_panel=TRAINING)] = None
    nesterov: Annotated[
        bool | None, typer.Option("--nesterov/--no-nesterov", help="Nesterov's momentum.", rich_help_panel=TRAINING)
    ] = None
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty.", rich_help_panel=TRAINING)] = None
    betas: Annotated[
        list[float] | None, typer.Option(metavar="B1 B2", help="Decays of adam's averages.", rich_help_panel=TRAINING)
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            help="cosine, step or constant.", rich_help_panel=TRAINING, autocompletion=names_of(registry.SCHEDULES)
        ),
    ] = None
    milestones: Annotated[
        list[float] | None, typer.Option(metavar="EPOCH...", help="Where the step schedule falls.", rich_help_panel=TRAINING)
    ] = None
    gamma: Annotated[float | None, typer.Option(help="By what it falls.", rich_help_panel=TRAINING)] = None
    warmup: Annotated[float | None, typer.Option(help="Epochs of rising rate.", rich_help_panel=TRAINING)] = None
    label_smoothing: Annotated[float | None, typer.Option(help="Share of smoothing.", rich_help_panel=TRAINING)] = None
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm.", rich_help_panel=TRAINING)] = None
    augmentation: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="pad-crop, flip, or none.", rich_help_panel=TRAINING),
    ] = None

    def over(self, recipe: "Recipe") -> "Recipe":
        """`recipe` with these flags put in."""
        flags = dataclasses.asdict(self)
        if self.augmentation == ["none"]:
            flags["augmentation"] = ()
        return recipe.override(**flags)


# -- small languages ---------------------------------------------------------------------------------------------------


def pairs(texts: list[str]) -> dict[str, Any]:
    """`width=16 batch_norm=true` as a dict; values are what YAML makes of a single word."""
    import yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and name):
            raise StarcliError(f"--arch-arg {text}: not of the form name=value")
        if name in found:
            raise StarcliError(f"--arch-arg {name}: given twice")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise StarcliError(f"--arch-arg {text}: its value cannot be read") from error
        if isinstance(found[name], (dict, list)) or not isinstance(found[name], (bool, int, float, str)):
            raise StarcliError(f"--arch-arg {text}: its value is no number, word, true or false")
    return found


def seed_list(text: str) -> list[int]:
    """`0-3,7` as [0, 1, 2, 3, 7]; anything else, and a seed twice, is an error."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)) or (dash and int(last) < int(first)):
            raise StarcliError(f"--seeds {text}: expected 0-7 or 0,3,5")
        if dash and int(last) - int(first) >= 100_000:
            raise StarcliError(f"--seeds {text}: more than 100,000 seeds")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) != len(seeds):
        raise StarcliError(f"--seeds {text}: a seed occurs twice")
    return seeds


def epochs_between(text: str) -> int | None:
    """`--realign-every`: epoch is 1, never is None, otherwise a number of epochs."""
    if text == "never":
        return None
    if text == "epoch":
        return 1
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise StarcliError(f"--realign-every {text}: expected epoch, never or a number of epochs")
