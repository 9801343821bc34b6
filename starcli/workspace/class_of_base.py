"""Models of `transformers` beside the sources of a fusion: where their class is another one, their tensors are too."""

from collections.abc import Sequence

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, with_article
from starcli.huggingface.directory import PREFIX
from starcli.huggingface.tasks import task_of
from starcli.models.names import is_huggingface

_BODY = "Model"
"""End of the name of a class that has no head."""


def refuse_other_heads(others: Sequence[Checkpoint], source: Checkpoint) -> None:
    """StarcliError for a model among `others` without the head that `source` has, or with one for another task.

    What each tensor of it became in the source could not be said.
    """
    own = _class_of(source)
    for each in others:
        found = _class_of(each)
        if not own or not found or found == own or each.tensors.keys() == source.tensors.keys():
            continue
        bare = found.endswith(_BODY) and not task_of(found).known
        if bare or task_of(found) != task_of(own):
            what = f"{each.name}: is {with_article(found)}, and lacks the head of {source.name}, {with_article(own)}"
            hint = f"--keep 0 of train, with --init {each.path}, also writes it with such a head, as training begins"
            raise StarcliError(what, [hint] if bare else [])


def _class_of(model: Checkpoint) -> str:
    """The name of the class of `transformers` that a model records, or its directory; empty where neither does."""
    if model.metadata.architecture is not None:
        name = model.metadata.architecture.name
        return name.removeprefix(PREFIX) if is_huggingface(name) else ""
    place = model.found_directory(any_class=True)
    named = None if place is None else place.config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
