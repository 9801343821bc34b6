"""How points of a star domain are drawn for an average, as the command line says it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.options.shared import SamplingOpt

if TYPE_CHECKING:
    from starcli.averaging.sampling import PointSampling

InTurnOpt = Annotated[
    bool, typer.Option("--in-turn", help="Draw each source, of ends also the star, once before any again.")
]


@bundle
@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """The options of points between star and sources."""

    sampling: SamplingOpt = "uniform"
    in_turn: InTurnOpt = False

    def points(self) -> "PointSampling":
        """How points are drawn; numbers that do not go with a name are an error."""
        from starcli.averaging.sampling import PointSampling

        return PointSampling(self.sampling, self.in_turn)
