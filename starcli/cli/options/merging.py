"""The options of merges by weights alone, and when these need neither network nor data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.setup import Setup
from starcli.cli.options.shared import IN, MERGING
from starcli.files.names import is_standard_stream
from starcli.registry.merges import MERGES

if TYPE_CHECKING:
    from starcli.merging.merge import Merge


@bundle
@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Settings of a merge; each method says which it reads."""

    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="MODEL", rich_help_panel=MERGING,
            help="What the sources descend from, for merges of what each one changed.",
        ),
        IN,
    ] = None  # fmt: skip
    weights: Annotated[
        list[float] | None,
        typer.Option(
            "--weights", metavar="W...", rich_help_panel=MERGING, help="A weight for each source (default 1 each)."
        ),
    ] = None
    normalise_weights: Annotated[
        bool | None,
        typer.Option(
            "--normalise-weights/--no-normalise-weights", rich_help_panel=MERGING,
            help="Divide by their sum (default of linear, ties, della and sce).",
        ),
    ] = None  # fmt: skip
    t: Annotated[
        float | None,
        typer.Option(
            "--t", metavar="T", rich_help_panel=MERGING,
            help="Of slerp: the place between the first source, 0, and the second, 1 (default 0.5).",
        ),
    ] = None  # fmt: skip
    density: Annotated[
        list[float] | None,
        typer.Option(
            "--density", metavar="D...", rich_help_panel=MERGING,
            help="Of ties, dare, della, breadcrumbs: the share of changes kept, one for all or each source; of sce the "
            "share of places (default: ties 0.2, dare 0.5, della 0.7, breadcrumbs 0.15, sce 0.1).",
        ),
    ] = None  # fmt: skip
    epsilon: Annotated[
        list[float] | None,
        typer.Option(
            "--epsilon", metavar="E...", rich_help_panel=MERGING,
            help="Of della: how much less of the smallest changes is kept, and more of the largest (default 0.07).",
        ),
    ] = None  # fmt: skip
    outliers: Annotated[
        list[float] | None,
        typer.Option(
            "--outliers", metavar="D...", rich_help_panel=MERGING,
            help="Of breadcrumbs: the share of largest changes left out, as for --density (default 0.01).",
        ),
    ] = None  # fmt: skip
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="S", rich_help_panel=MERGING, help="Of what is added to the base (default 1)."),
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--overrides", metavar="PATTERN:NAME=X...", rich_help_panel=MERGING,
            help="Other settings of the tensors of a pattern: '*.mlp.*:weights=0.2,0.8:density=0.5'; the first wins.",
        ),
    ] = None  # fmt: skip

    def merge(self, method: str) -> "Merge | None":
        """The merge by `method` that the options describe; None where that is no merge by weights alone."""
        from starcli.merging.merge import Merge, parse_override

        if method not in MERGES:
            return None
        return Merge.of(method, vars(self), map(parse_override, self.overrides or ()))


def files_alone(method: str, paths: Sequence[Path], setup: Setup) -> bool:
    """Whether a merge asks for neither network nor data: the command line names none, and some file says no data."""
    if method not in MERGES or setup.arch is not None or setup.data is not None or any(map(is_standard_stream, paths)):
        return False
    from starcli.checkpoints.several import read_all
    from starcli.fusion.merge_files import without_data

    return bool(without_data(read_all(paths, distinct=False, verify=False)))
