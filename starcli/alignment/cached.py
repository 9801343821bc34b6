"""Cache of learned alignments of pairs of models, and the saved state of learning that was stopped.

Kept in the cache under the hashes of both models and all that decides a match, so that `barrier --align learn` after
`align --method learn` of the same pair learns nothing.
"""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.alignment import Alignment
from starcli.alignment.learned.lesson import LessonKeeper
from starcli.alignment.matching.method import Match
from starcli.checkpoints.hashes import weights_sha256
from starcli.errors import StarcliError
from starcli.files.cache import CacheKind, forget, hash_json, recall, remember
from starcli.runtime.saving_times import SavingTimes
from starcli.symmetry.symmetries import Symmetry
from starcli.version import __version__
from starcli.workspace.data import record_of

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

LESSONS = 2
"""Another number wherever a lesson's states change their form, or the same lesson comes to another end."""


def match_settings(workspace: "Workspace", alignment: Alignment) -> dict[str, Any]:
    """All that decides a match besides the models."""
    align = None
    if alignment.active:
        align = {**alignment.settings(), "spec": workspace.spec.resolved.sha256, **alignment.kinds_in(workspace)}
    return {
        "architecture": workspace.architecture.model_dump(mode="json"),
        "data": record_of(workspace.dataset).model_dump(mode="json"),
        "align": align,
        "precision": workspace.precision,
        "device": workspace.device.type,
        "program": __version__,
        **({"written": written} if (written := workspace.dataset.written) else {}),
        **({"network": workspace.fingerprint} if workspace.fingerprint else {}),
        **({"average_buffers": True} if workspace.average_buffers else {}),
    }


class CachedMatch(LessonKeeper):
    """The match of one pair as it is kept between runs: what its lesson has reached, at the end the match itself."""

    def __init__(
        self,
        workspace: "Workspace",
        alignment: Alignment,
        seed: int,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
    ) -> None:
        """Nothing is kept where it is not known for sure which network and data these are."""
        self._key: str | None = None
        if workspace.is_known:
            weights = map(weights_sha256, (reference, model))
            self._key = hash_json([LESSONS, match_settings(workspace, alignment), seed, *weights])
        self._state: Mapping[str, Tensor] = {}
        self._times = SavingTimes()

    def recall(self, symmetry: Callable[[Mapping[str, Tensor]], Symmetry]) -> Match | None:
        """The match, or None where it is still to be learned; `symmetry` makes one of its tensors."""
        if (found := self._read("matches")) is not None:
            with suppress(StarcliError, TypeError):  # a damaged entry counts as none
                return Match.of(symmetry(found[0]), **found[1])
        return None

    def put(self, match: Match) -> Match:
        """Keep the match in the place of its lesson, and return it."""
        self._write("matches", match.symmetry.to_tensors(), match.figures())
        if self._key is not None:
            forget("lessons", self._key)
        return match

    def load(self) -> Mapping[str, Tensor] | None:
        """The state in which the lesson was stopped, or None."""
        found = self._read("lessons")
        return None if found is None else found[0]

    def reached(self, state: Mapping[str, Tensor]) -> None:
        """See `LessonKeeper.reached`."""
        self._state = state
        if self._times.due():
            self.save()

    def save(self) -> None:
        """Keep what was reached last."""
        with self._times.saving():
            self._write("lessons", self._state, {})

    def _read(self, kind: CacheKind) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and figures of an entry, or None."""
        from safetensors.torch import load

        found = None if self._key is None else recall(kind, self._key)
        try:
            return None if found is None else (load(base64.b64decode(found["tensors"])), dict(found["figures"]))
        except Exception:  # whatever a damaged file makes the reader say
            return None

    def _write(self, kind: CacheKind, tensors: Mapping[str, Tensor], figures: Mapping[str, Any]) -> None:
        """Write an entry."""
        from safetensors.torch import save

        if self._key is not None:
            packed = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
            remember(kind, self._key, {"tensors": base64.b64encode(packed).decode(), "figures": dict(figures)})
