"""Notes to the user on how models are aligned, or that they are not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.order_of_units import in_one_order
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import few
from starcli.runtime.progress import Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

TWO_WAYS = "align first (starcli align), or add --align weight here; --align none says that this is meant"
"""What to do about models that are taken as they are."""

_AS_THEY_ARE = "--align none takes models as they are"


def note_alignment(
    workspace: "Workspace", alignment: Alignment, progress: Progress, *, unsaid: Sequence[Checkpoint] = ()
) -> None:
    """Notes where there are no units to be permuted, or no proved kinds beyond that, and of models never aligned.

    unsaid: models of which nobody said how they are to be aligned to the first. Those that have their units in one
    order all the same, as fine-tunings of one model, need no note.
    """
    for note in alignment.notes_in(workspace):
        progress.note(note)
    if alignment.active and not workspace.spec.movable:
        progress.note("alignment moves nothing: the spec has no group of units (starcli spec explain says why)")
    never = [other for other in unsaid[1:] if alignment.label(unsaid[0], other) == "none"]
    if never and not in_one_order(workspace, [unsaid[0], *never]):
        progress.note(f"{never[0].name} was never aligned to {unsaid[0].name}: {TWO_WAYS}")


def note_aligned_anew(
    workspace: "Workspace", alignment: Alignment, models: Sequence[Checkpoint], progress: Progress
) -> None:
    """A note where models that have the units of the first already are about to be aligned, which can make them worse.

    Some say so, as they were aligned before; of others see `note_one_order`.
    """
    first, *others = models
    before = [each.name for each in others if AS_GIVEN.label(first, each) != "none"]
    if alignment.active and before:
        how = f"aligned to {first.name} before, and anew now, by {alignment.title}"
        progress.note(f"{few(before, 3)}: {how}; {_AS_THEY_ARE}")
    else:
        note_one_order(workspace, alignment, models, progress)


def note_one_order(
    workspace: "Workspace", alignment: Alignment, models: Sequence[Checkpoint], progress: Progress
) -> None:
    """A note where models are about to be aligned whose weights show one order of units, as those of fine-tunings."""
    if alignment.active and workspace.spec.movable and in_one_order(workspace, models):
        progress.note(
            f"{few([each.name for each in models], 3)} have their units in one order, as fine-tunings of one model "
            f"have; aligned all the same, by {alignment.title}, they may fit worse: {_AS_THEY_ARE}"
        )
