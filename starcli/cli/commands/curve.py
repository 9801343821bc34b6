"""`starcli curve`: connect two models by a curve of low loss."""

from starcli.cli.curve_jobs import CurveOptions, CurveRun
from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import LinesSetup
from starcli.cli.options.training import Training
from starcli.cli.shared_columns import LOSS_KIND

_COLUMNS = (
    Column("output", "bend", "name", main=True),
    Column("form", "form", common=True),
    Column("alignment", "alignment", common=True),
    Column("curve.loss", "loss on the curve", LOSS, main=True),
    Column("train.loss", "train loss of bend", LOSS),
    Column("test.loss", "test loss of bend", LOSS),
    LOSS_KIND,
)


@command(
    "starcli curve a.safetensors b.safetensors --align activation -o bend.safetensors",
    "starcli curve a.safetensors b.safetensors --form polygon --bends 3 -o 'bend-{k}.safetensors'",
    see="docs/how-to/curves-and-planes.md",
)
def curve_command(curve: CurveOptions, common: CommonPlanned, setup: LinesSetup, training: Training) -> None:
    """Train a curve of low loss between two models: what mode connectivity knew before stars.

    The ends stay as they are, and each step lowers the loss at one point of the curve, at t from 0 to 1 uniformly, by
    moving its bends. These begin on the straight line; settings are those of the ends unless a flag changes them. B is
    taken as it is unless --align is given.

    Each bend is written as a model like any other. barrier --curve measures the path by way of it, and interpolate
    --curve writes points of that. The loss on the curve is that of the last epoch, as training saw it.
    """
    with common.session(curve.output) as (watch, results):
        for row in CurveRun(curve, setup, training, watch).all():
            results.add("curve", row, _COLUMNS)
