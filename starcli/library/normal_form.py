"""Normal forms of models, from Python."""

from dataclasses import dataclass
from typing import Any, Unpack

import torch

from starcli.alignment.normalised import Normalised, normalise
from starcli.library.align import PermutedModel
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, open_models
from starcli.library.made_models import made
from starcli.library.plans import normal_form_plans
from starcli.library.where import Where


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class NormalModel(PermutedModel):
    """A model in its normal form: the same function; `symmetry` is the element that led there."""

    normalised: Normalised

    def to_dict(self) -> dict[str, Any]:
        """The figures of `starcli align --normal-form`: dimension, norms before and after, change of outputs."""
        return self.normalised.to_dict()


@library_call
def normal_form(model: ModelLike, *, dtype: str | torch.dtype | None = None, **where: Unpack[Where]) -> NormalModel:
    """Bring a model to its normal form: what scales and invertible matrices can do to its weights is done.

    Scales and shifts of the norms of a stream that rotates go into the linear maps that read them; what enters a unit
    of a ReLU has the norm of what leaves it; of two factors, as of queries and keys, both have the same singular
    values. Of all models that these symmetries make of one it is that of least norm, and all of them have the same one,
    but for permutations, signs and rotations. An ordinary model of the same network.
    dtype: as of `align`.
    where: `arch`, `data`, `device` and others, see `Where`.
    StarcliError where its function would change by more than rounding, seen on the model itself.

    >>> import starcli as sc
    >>> a = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> normal = sc.normal_form(a)
    >>> normal.to_dict()["norm_after"] < normal.to_dict()["norm_before"]
    True
    >>> again = sc.normal_form(sc.permute(a, seed=1, kinds="all"))
    >>> abs(again.to_dict()["norm_after"] - normal.to_dict()["norm_after"]) < 1e-4
    True
    """
    workspace, [source], watcher = open_models([model], where, data=False, uses_data=False, dtype=dtype)
    found = normalise(workspace, source.tensors, progress=watcher)
    facts = source.facts_under(workspace.data, normal_form=found.to_dict())
    plan, of_element = normal_form_plans(workspace, source)
    own = {"symmetry": found.element, "symmetry_plan": of_element, "normalised": found}
    return made(NormalModel, workspace, plan, found.tensors, source.name, **facts, **own)
