"""Settings of a curve between two models, beside the recipe of its training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.errors import StarcliError
from starcli.registry.curve_forms import CURVE_FORMS
from starcli.registry.entry import lookup
from starcli.runtime import distributed

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class CurveSettings:
    """How two models are connected.

    form: a name of `starcli.registry.curve_forms`. bends: the number of models between the ends that are trained.
    alignment: how the second end is aligned to the first one, before all training.
    sync_batchnorm: ranks go to one point a step together, with BatchNorm statistics of the whole batch, as one process;
        else each has a point of its own.

    StarcliError for an unknown form and for less than one bend.
    """

    form: str = "bezier"
    bends: int = 1
    alignment: Alignment = AS_GIVEN
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        lookup(CURVE_FORMS, "form", self.form)
        if isinstance(self.bends, bool) or not isinstance(self.bends, int) or self.bends < 1:
            raise StarcliError(f"bends (--bends): a whole number from 1 up, found {self.bends!r:.80}")

    def record(self, bend: int, workspace: "Workspace") -> dict[str, Any]:
        """The settings as the recipe of a bend's file records them; bends are numbered from 1."""
        how = self.alignment
        aligned = {"align": how.settings(), **how.kinds_in(workspace)} if how.active else {}
        synced = {"sync_batchnorm": True} if self.sync_batchnorm else {}
        shared = {"pieces": distributed.size(), **synced} if distributed.size() > 1 else {}
        return {"form": self.form, "bends": self.bends, "bend": bend, **aligned, **shared}
