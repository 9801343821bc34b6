"""`starcli spec`: show, check, derive, explain and compare permutation specs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.checked import Checked
from starcli.cli.framework.command import CommandGroup, command, register
from starcli.cli.framework.results import Column
from starcli.cli.options import checks
from starcli.cli.options.common import Common
from starcli.cli.options.setup import SpecSetup
from starcli.cli.options.shared import ONE_OUT, ForceOpt
from starcli.errors import StarcliError, number_of
from starcli.runtime import stdout

if TYPE_CHECKING:
    from starcli.workspace.spec_report import SpecReport


class SpecCommands(CommandGroup):
    """The commands about specs."""

    examples = ("starcli spec check my.yaml --arch resnet", "starcli spec explain --arch vit")
    see = "docs/specs.md#permutation-specs"


spec_app = typer.Typer(
    cls=SpecCommands,
    add_help_option=False,
    help="Permutation specs: which units of a network may change places. Show, check, derive, explain, compare them.",
    short_help="Permutation specs: show, check, derive, explain, diff.",
)

SPEC = Checked(checks.spec)
"""Mark of arguments that are specs."""

SpecArg = Annotated[
    str | None, typer.Argument(metavar="SPEC", help="A shipped spec's name, a YAML file or a checkpoint."), SPEC
]
REPORT = (
    Column("arch", "network"),
    Column("groups", "groups", "d", main=True),
    Column("tensors", "tensors", "d", optional=1),
    Column("parameters", "parameters", ",", optional=1),
    Column("log10_symmetries", "log10 of symmetries", ",.1f"),
    Column("continuous_dimension", "continuous dimension", ",d"),
    Column("movable", "movable", ".2%"),
    Column("worst_difference", "worst difference", ".1e", optional=1),
    Column("proved", "proved", main=True),
    Column("undecided", "undecided"),
)
LISTED = (Column("name", "spec"), Column("architectures", "used by", main=True))
GROUPS = (
    Column("group", "group"),
    Column("size", "size", "d", main=True),
    Column("within", "within"),
    Column("verdict", "verdict"),
    Column("kind", "kind", main=True),
    Column("dimension", "dimension", "d"),
    Column("tensors", "tensors", main=True),
)
SYMMETRIES = (
    Column("arch", "network"),
    Column("groups", "groups", "d", main=True),
    Column("log10_symmetries", "log10 of permutations", ",.1f"),
    Column("continuous_dimension", "continuous dimension", ",d", main=True),
    Column("worst_difference", "worst difference", ".1e"),
    Column("proved", "proved", main=True),
)
FROZEN = (Column("tensor", "fixed tensor"), Column("axis", "axis", "d", main=True), Column("reason", "why", main=True))
DIFFERENCES = (Column("difference", "difference"),)


@command(
    "starcli spec list",
    "starcli spec list --json",
    see="docs/specs.md#permutation-specs",
)
def spec_list_command(common: Common) -> None:
    """List the specs that come with the program."""
    from starcli.workspace.spec_files import list_rows

    with common.session() as (_, results):
        for row in list_rows():
            results.add("spec_list", row, LISTED)


@command(
    "starcli spec show resnet > my.yaml",
    "starcli spec show star.safetensors",
    see="docs/specs.md#permutation-specs",
)
def spec_show_command(
    common: Common, *, spec: Annotated[str, typer.Argument(metavar="SPEC", help="A name, file or checkpoint."), SPEC]
) -> None:
    """Print a spec as YAML: a shipped one as it was written, that of a checkpoint with every size resolved."""
    from starcli.workspace.spec_files import text_of

    if common.format is not None:
        raise StarcliError(f"--format {common.format}: spec show prints a spec as YAML, and nothing else")
    typer.echo(text_of(spec), stdout.result_stream(), nl=False)


@command(
    "starcli spec check my.yaml --arch resnet --arch-arg width=16",
    "starcli spec check --arch torchvision:resnet18 --input 1,3,224,224",
    see="docs/specs.md#proof",
)
def spec_check_command(common: Common, setup: SpecSetup, *, given: SpecArg = None) -> None:
    """Check a spec against the tensors of a network, and prove that its permutations leave the function alone.

    Kinds that it says (format 2) are proved too.

    Without SPEC: the one that the program would use for --arch. Not proved makes the exit status 1.
    """
    from starcli.workspace.spec_network import SpecNetwork
    from starcli.workspace.spec_report import check_report

    network = SpecNetwork.of(setup, given)
    with common.session() as (_, results):
        report = check_report(network, given)
        results.add("spec_check", report.row(), REPORT)
    _refuse_unproved(report)


@command(
    "starcli spec derive --arch torchvision:resnet18 --input 1,3,224,224 -o resnet18.yaml",
    "starcli spec derive --arch vit --kinds -o vit.yaml",
    see="docs/specs.md#permutation-specs",
)
def spec_derive_command(
    common: Common,
    setup: SpecSetup,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="YAML file to write; - is stdout."), ONE_OUT
    ] = None,
    force: ForceOpt = False,
    kinds: Annotated[
        bool, typer.Option("--kinds", help="Also find what acts besides permutations; the YAML says it (format 2).")
    ] = False,
) -> None:
    """Find the spec of a network by tracing it, prove it, and write it as YAML.

    What the tracing does not understand stays fixed, and the report says where and why. The architecture may come from
    the registry, torchvision, timm, or a module of yours as package.module:function.
    """
    from starcli.cli.content_file import ContentFile
    from starcli.workspace.spec_network import SpecNetwork
    from starcli.workspace.spec_report import derive_report

    file = None if output is None else ContentFile(output, "spec.yaml", force=force)
    network = SpecNetwork.of(setup, None)
    with common.session(output) as (watch, results):
        report = derive_report(network, watch, kinds=kinds)
        for note in report.notes:
            watch.note(note)
        if file is not None:
            file.write(lambda: [report.yaml.encode()], watch)
        results.add("spec_derive", {**report.row(), "output": str(output) if output else None}, REPORT)
        for row in () if results.for_programs else report.row()["frozen"]:
            results.add("frozen", row, FROZEN)
    _refuse_unproved(report)


@command(
    "starcli spec explain --arch vit --data mnist",
    "starcli spec explain --arch my_package.models:build --input 1,3,64,64",
    see="docs/specs.md#kinds-of-symmetry",
)
def spec_explain_command(common: Common, setup: SpecSetup, *, given: SpecArg = None) -> None:
    """Explain a spec: each group with its size, tensors and kind, and why each fixed axis is fixed.

    A kind is the largest group that was proved to act on the units: permutations alone, with signs, with positive
    scales (under ReLU), rotations (a residual stream), complex numbers (pairs of units under rotary positions),
    invertible matrices (two linear maps in a row; queries and keys). The operator that breaks larger ones is named.
    Dimension is that of the continuous part.
    """
    from starcli.cli.spec_text import explanation_text
    from starcli.workspace.spec_network import SpecNetwork
    from starcli.workspace.spec_report import explain

    network = SpecNetwork.of(setup, given)
    with common.session() as (_, results):
        found = explain(network, given)
        if results.form == "table":
            results.text(explanation_text(found, shutil.get_terminal_size().columns))
            return
        results.add("symmetries", found.symmetries, SYMMETRIES)
        for row in found.groups:
            results.add("group", row, GROUPS)
        for row in found.frozen:
            results.add("frozen", row, FROZEN)


@command(
    "starcli spec diff resnet derived.yaml --arch resnet",
    "starcli spec diff mine.yaml theirs.yaml --arch resnet",
    see="docs/specs.md#permutation-specs",
)
def spec_diff_command(
    common: Common,
    setup: SpecSetup,
    *,
    first: Annotated[str, typer.Argument(metavar="SPEC", help="A name, file or checkpoint."), SPEC],
    second: Annotated[str, typer.Argument(metavar="SPEC", help="Another."), SPEC],
) -> None:
    """Compare two specs of one network: do they describe the same symmetry group? Differing makes the exit status 1.

    Names of groups do not count, only what they do.
    """
    from starcli.workspace.spec_network import SpecNetwork
    from starcli.workspace.spec_report import spec_differences

    network = SpecNetwork.of(setup, first)
    with common.session() as (_, results):
        rows = spec_differences(network, first, second)
        for row in rows:
            results.add("difference", {"first": first, "second": second, "difference": row}, DIFFERENCES)
    if rows:
        raise StarcliError(f"{first} and {second} differ in {number_of(len(rows), 'place')}")


def _refuse_unproved(report: "SpecReport") -> None:
    if not report.row()["proved"]:
        raise StarcliError("the spec is not proved", [f"{group}: {reason}" for group, reason in report.reasons.items()])


register(
    spec_app,
    {
        "list": spec_list_command,
        "show": spec_show_command,
        "check": spec_check_command,
        "derive": spec_derive_command,
        "explain": spec_explain_command,
        "diff": spec_diff_command,
    },
)
