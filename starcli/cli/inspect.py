"""starcli inspect"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.bundles import Common
from starcli.cli.command import command
from starcli.cli.output import Column
from starcli.errors import StarcliError

if TYPE_CHECKING:
    from starcli.lineage import Description

COLUMNS = (
    Column("file", "file"),
    Column("kind", "kind"),
    Column("architecture.name", "architecture"),
    Column("data.name", "data"),
    Column("seed", "seed", "d"),
    Column("parameters", "parameters", ",d"),
    Column("weights_sha256", "weights", ".12"),
    Column("aligned_to", "aligned to", ".12"),
    Column("proved", "spec proved"),
    Column("verified", "verified"),
)


@command("starcli inspect star.safetensors --lineage")
def inspect_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Checkpoints or permutation files.")],
    common: Common,
    *,
    lineage: Annotated[bool, typer.Option("--lineage", help="Draw what each was made from, back to training.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the weights anew, and those of ancestors that lie beside the file.")
    ] = False,
) -> None:
    """Say what a checkpoint is, how it was made and from what. Needs no torch, reads no weights unless to verify."""
    from starcli.lineage import describe

    broken: list[str] = []
    with common.session() as (watch, results):
        for path in files:
            found = describe(path, verify=verify)
            results.add("inspect", found.to_json(), COLUMNS)
            if lineage:
                results.text(_tree(found))
            for missing in found.missing:
                watch.note(f"{path}: {missing} does not lie beside it and was not verified")
            broken += found.broken
    if broken:
        raise StarcliError("the weights are not those that were recorded", broken)


def _tree(found: "Description") -> str:
    """The file and its ancestors, one a line, parents indented below what was made from them."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    names = found.names()

    def grow(branch: Tree, parents: list[str]) -> None:
        for parent in parents:
            ancestor = names.get(parent)
            label = parent[:12] if ancestor is None else f"{ancestor.name}  {ancestor.kind}  {parent[:12]}"
            grow(branch.add(Text(label)), [] if ancestor is None else ancestor.parents)

    tree = Tree(Text(f"{found.path.name}  {found.metadata.kind}  {found.sha256[:12]}"))
    grow(tree, found.metadata.parents)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tree)
    return capture.get().rstrip()
