"""Training a curve of low loss between two models, whose ends stay (mode connectivity).

Garipov et al. 2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs": a Bezier curve or a polygonal
chain, of which the bends minimise the mean loss over t.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.hashes import weights_sha256
from starcli.curves.curve_step import OnCurve
from starcli.curves.settings import CurveSettings
from starcli.evaluation.mixed_buffers import admit_points
from starcli.files.state import StateFile
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import SILENT, Progress
from starcli.training.batch_pieces import pieces_per_step
from starcli.training.objective import Row
from starcli.training.run import TrainingRun
from starcli.training.seeds import substream
from starcli.training.train import final_metrics

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class TrainedCurve:
    """The bends of a curve in their order, what is recorded of each, and a row for each epoch."""

    bends: Sequence[Mapping[str, Tensor]]
    metrics: Sequence[Mapping[str, Any]]
    history: Sequence[Row]


def train_curve(
    workspace: "Workspace",
    ends: tuple[Checkpoint, Checkpoint],
    recipe: Recipe,
    seed: int,
    settings: CurveSettings = CurveSettings(),  # noqa: B008  a frozen value
    *,
    state: StateFile | None = None,
    progress: Progress = SILENT,
) -> TrainedCurve:
    """Train the bends of a curve from the first of `ends` to the second, which is aligned to it as the settings say.

    minimise over the bends    E_t[L(phi(t))],    t ~ Unif[0, 1]

    Each step draws one t. Weight decay acts on the bends. A curve draws from a stream apart from that of `train`.
    metrics: of each bend, a model like any other, by split; and under `curve` the hashes of both ends, and the mean
    loss over the curve in the last epoch, as training saw it.
    Saving, resuming and errors are those of `train_network`.
    """
    first, last = ends
    own_seed, flat = substream(seed, "curve"), workspace.network(seed)
    admit_points(workspace, flat, [first.tensors, last.tensors], "the bends of a curve", progress)
    [aligned] = Aligner(settings.alignment, workspace).tensors_of_all(first, [last], progress=progress)
    objective = OnCurve(workspace, flat, [first.tensors, aligned], recipe, own_seed, settings, progress)
    run = TrainingRun(
        objective,
        workspace.dataset,
        recipe,
        own_seed,
        task=f"curve seed {seed}",
        state=state,
        pieces=pieces_per_step(None, recipe.batch_size),
        progress=progress,
    )
    with objective.batchnorm:
        history = run.run()
    stop = last.tensors_sha256 if aligned is last.tensors else weights_sha256(aligned)
    of_all = {"ends": [first.tensors_sha256, stop], "loss": history[-1]["loss"] if history else None}
    bends: list[Mapping[str, Tensor]] = []
    metrics: list[Mapping[str, Any]] = []
    with run.saving_when_stopped():
        for bend in range(settings.bends):
            objective.put_bend(bend)
            metrics.append({**final_metrics(flat, workspace, progress), "curve": of_all})
            bends.append(flat.state())
    return TrainedCurve(bends, metrics, history)
