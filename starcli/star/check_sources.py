"""Sources that are no solutions, to which no star can be connected; and stars that are none themselves."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_low
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.barriers.groups import TO_SOURCES
from starcli.barriers.star_report import StarReport
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.lineage import Lineage, is_among
from starcli.errors import StarcliError, few
from starcli.evaluation.tasks.task import task_named
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, set_eval_
from starcli.runtime import sharing
from starcli.runtime.progress import Progress
from starcli.star.source_bank import Source

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


LOSS_EXAMPLES = 128
"""Training examples that are looked at: enough to tell a failed run from a solution, and little beside an epoch even
for many sources."""


def first_losses(workspace: "Workspace", sources: Sequence[Source]) -> list[float]:
    """Mean loss of each source, as it is in its file, on the same few training examples."""
    return sharing.share_list(sources, lambda own: _losses(workspace, (source.open() for source in own)))


def _losses(workspace: "Workspace", models: Iterable[Mapping[str, Tensor]]) -> list[float]:
    split = workspace.dataset.train
    count = _example_count(workspace)
    # from everywhere: files may lie in the order of their classes
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count]
    inputs, labels = next(iter(split.batches(count, order=chosen, device=workspace.device, channels_last=True)))
    flat, losses, task = workspace.network(), [], task_named(workspace.dataset.task)
    for model in models:
        flat.network.train()
        flat.flatten(model, out=flat.parameters)
        flat.load_buffers([model], [1.0])
        set_eval_(flat.network)
        with torch.inference_mode(), autocast(workspace.device, workspace.precision):
            logits, targets = prediction_rows(flat.network(inputs), labels, 1, "evaluation")
        losses.append(float(task.loss(logits.float(), targets)))
    return losses


def _example_count(workspace: "Workspace") -> int:
    return min(LOSS_EXAMPLES, len(workspace.dataset.train))


def _first_examples(workspace: "Workspace") -> str:
    """What the losses of `first_losses` are measured on, for notes that name one."""
    return f"measured on {_example_count(workspace)} training examples, each model as its file has it"


def outliers(losses: Sequence[float], unit: float = 1.0) -> list[int]:
    """Positions of the losses above 0.5 nats (or of another `unit`) plus twice the (lower) median."""
    usual = median_low(losses)
    return [number for number, loss in enumerate(losses) if loss > 0.5 * unit + 2 * usual]


def _loss_unit(workspace: "Workspace") -> float:
    """What a loss is measured by: see `Task.loss_unit`."""
    dataset = workspace.dataset
    return task_named(dataset.task).loss_unit(dataset.train.targets)


def warn_of_outliers(workspace: "Workspace", sources: Sequence[Source], progress: Progress) -> list[float]:
    """Note each source whose loss is far above the others'; one without a finite loss is an error. The losses."""
    losses = first_losses(workspace, sources)
    broken = [source.name for source, loss in zip(sources, losses, strict=True) if not math.isfinite(loss)]
    if broken:
        raise StarcliError("the loss of a source is not finite", broken)
    for number in outliers(losses, _loss_unit(workspace)):
        progress.note(
            f"{sources[number].name} is hardly a solution: its training loss is {losses[number]:.2f}, "
            f"that of most sources at most {median_low(losses):.2f} ({_first_examples(workspace)})"
        )
    return losses


def check_held_out(models: Iterable[Checkpoint], held_out: Sequence[Checkpoint]) -> None:
    """Raise StarcliError for held-out models that are the same solution as one of `models`, or that went into it.

    models: a finished star; or what a search is to see: its sources, and what it begins at.
    """
    for model in models if held_out else ():
        lineage = Lineage(model)
        if same := [each.name for each in held_out if is_among(each, lineage.copies())]:
            raise StarcliError(f"--held-out: the same solution as {model.name}: {few(same, 5)}")
        if gone_in := [each.name for each in held_out if is_among(each, lineage.seen())]:
            raise StarcliError(f"--held-out: {model.name} was made from {few(gone_in, 5)}")


MADE_OF_SOLUTIONS = {"star": "a star", "fused": "a fused model", "bend": "the bend of a curve"}
"""Kinds of models that were trained on others, which are no solutions of their own, and what they are called."""


def note_doubtful_solutions(models: Iterable[Checkpoint], progress: Progress) -> None:
    """Note sources and held-out models that are stars and the like, or one solution twice, as a model and its copy.

    Barriers to the first say nothing of solutions; the second count for more than others.
    """
    known: dict[str, str] = {}
    for model in models:
        copies = Lineage(model).copies()
        if first := next((name for sha256, name in known.items() if sha256 in copies), ""):
            progress.note(f"{model.name} is the same solution as {first}, and counts here as another")
        known |= dict.fromkeys(copies, model.name)
        if model.metadata.kind in MADE_OF_SOLUTIONS:
            progress.note(f"{model.name} is {MADE_OF_SOLUTIONS[model.metadata.kind]}, and counts here as a solution")


def check_roles(
    star: Checkpoint, sources: Sequence[Checkpoint], held_out: Sequence[Checkpoint], progress: Progress
) -> None:
    """Compare what a star records of its sources with the models that are said to be sources and held out.

    A held-out model that the star was made from is an error, a source that it was not made from a note. A copy counts
    as what it is a copy of, see `Lineage`.
    """
    check_held_out([star] if star.metadata.parents else [], held_out)
    note_doubtful_solutions([*sources, *held_out], progress)
    if not star.metadata.parents:
        if star.metadata.recipe is not None:
            progress.note(f"{star.name} was trained from random weights: it is no star")
        return
    own = Lineage(star).made_from()
    if strangers := [model.name for model in sources if not is_among(model, own)]:
        progress.note(f"{star.name} was not made from {few(strangers, 5)}, given as --sources")


def check_domain(workspace: "Workspace", star: Checkpoint, sources: Sequence[Checkpoint], progress: Progress) -> None:
    """Note sources of a domain that its star was not made from, and by the rule of `warn_of_weak_star` a weak star."""
    check_roles(star, sources, (), progress)
    losses = first_losses(workspace, [Source.of(source) for source in sources])
    warn_of_weak_star(workspace, star.tensors, losses, star.name, progress)


def warn_of_weak_report(workspace: "Workspace", report: StarReport, what: str, progress: Progress) -> None:
    """Note a star (`what`) by the rule of `warn_of_weak_star`, by the training losses that its report rests on."""
    others = [barrier.curves["train"].loss[-1] for barrier in report.groups[TO_SOURCES].barriers]
    measured = "measured on the whole training split, as the ends of the lines were"
    _warn_of_weak(report.star["train"].loss, max(others), what, _loss_unit(workspace), measured, progress)


def warn_of_weak_star(
    workspace: "Workspace", star: Mapping[str, Tensor], losses: Sequence[float], what: str, progress: Progress
) -> None:
    """Note a star (`what`) whose loss is far above its worst source's: twice as high, and more than 0.1 nats.

    Of numbers it is 0.1 of their variance.

    losses: of the sources, as `warn_of_outliers` returns them. A barrier is a rise above both ends: where the star is
    high, barriers say nothing.
    """
    [own] = _losses(workspace, [star])
    _warn_of_weak(own, max(losses), what, _loss_unit(workspace), _first_examples(workspace), progress)


def _warn_of_weak(own: float, worst: float, what: str, unit: float, measured: str, progress: Progress) -> None:
    if not own <= max(2 * worst, worst + 0.1 * unit):  # a loss that is no number is none of a solution
        progress.note(
            f"{what} is hardly a solution: its training loss is {own:.2f}, that of its sources at most {worst:.2f} "
            f"({measured}); a barrier is low where an end is high; more --epochs, more --restarts of the alignment or "
            "wider networks may help"
        )
