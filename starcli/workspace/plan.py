"""Plan of a file: what it is made from and by which settings; made before the work, written with it, compared later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import (
    MODELS,
    AlignedTo,
    Architecture,
    DataRecord,
    Kind,
    Metadata,
    Sha256,
    SpecRecord,
)
from starcli.errors import StarcliError, short
from starcli.files.other_weights import refuse_other_weights
from starcli.files.shards import is_index
from starcli.files.write_shards import check_shards
from starcli.huggingface.directory import Directory

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.recipes.recipe import Recipe
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """A file that is going to be made.

    `settings` is everything besides network, data, seed and parents that decides its contents: the keys of the training
    recipe, and under the name of the command what it adds (`align: {method, restarts}`).  Descendants inherit the
    training recipe.  Equal plans give equal bytes, and have equal run ids.
    """

    kind: Kind
    settings: Mapping[str, Any]
    seed: int | None = None
    architecture: Architecture | None = None
    data: DataRecord | None = None
    spec: SpecRecord | None = None
    parents: Sequence[Checkpoint] = field(default=())
    directory: Directory | None = None
    """One of Hugging Face that a model was read from, for what is to stand beside the file in such another one."""

    @cached_property
    def run_id(self) -> Sha256:
        """Hash of all that decides the result; a spec does only where there is something to align."""
        return checkpoint.run_id(
            kind=self.kind,
            architecture=None if self.architecture is None else self.architecture.model_dump(mode="json"),
            data=None if self.data is None else self.data.model_dump(mode="json"),
            settings=dict(self.settings),
            seed=self.seed,
            spec=self.spec.sha256 if self.spec is not None and self.parents else None,
            parents=[parent.sha256 for parent in self.parents],
        )

    def metadata(
        self,
        *,
        metrics: Mapping[str, Any] | None = None,
        statistics: Literal["training", "recalibrated", "stale"] = "training",
        aligned_to: AlignedTo | None = None,
    ) -> Metadata:
        """Metadata of the finished file."""
        parents, ancestors = checkpoint.ancestry(self.parents)
        return Metadata(
            kind=self.kind,
            architecture=self.architecture,
            spec=self.spec,
            data=self.data,
            recipe=dict(self.settings),
            seed=self.seed,
            run_id=self.run_id,
            aligned_to=aligned_to,
            parents=parents,
            ancestors=ancestors,
            metrics=None if metrics is None else dict(metrics),
            statistics=statistics,
        )

    def finish(
        self, tensors: "Mapping[str, Tensor]", *, metrics: Mapping[str, Any] | None = None, **facts: Any
    ) -> "tuple[Mapping[str, Tensor], Metadata]":
        """`tensors`, those of a model in the type that was asked for, and what the file says of itself.

        Scores of a model before it was rounded are not those of the file, and are left out.
        Raises StarcliError for values that are too large for the type.
        """
        if "write" in self.settings and self.kind in MODELS:
            from starcli.models.dtypes import in_type

            given, tensors = tensors, in_type(tensors, self.settings["write"]["dtype"])
            if metrics and any(tensors[name].dtype.itemsize < given[name].dtype.itemsize for name in given):
                metrics = {name: metrics[name] for name in ("align", "normal_form") if name in metrics} or None
        return tensors, self.metadata(metrics=metrics, **facts)

    def after_epoch(self, epoch: int) -> "Plan":
        """The plan of the same network on its way, after so many epochs of its training."""
        train = {**self.settings.get("train", {}), "after_epoch": epoch}
        return replace(self, settings={**self.settings, "train": train})

    def differences(self, found: Metadata) -> list[str]:
        """How a file that exists differs from this plan, one line each: `epochs: 25 there, 30 asked for`."""
        lines = _compared("", {"kind": found.kind, "seed": found.seed}, {"kind": self.kind, "seed": self.seed})
        lines += _compared("", found.recipe or {}, self.settings)
        for word in ("architecture", "data"):
            theirs, ours = getattr(found, word), getattr(self, word)
            lines += _compared(f"{word} ", _plain(theirs), _plain(ours))
        if self.parents and found.spec is not None and self.spec is not None:
            lines += _compared("spec ", {"sha256": found.spec.sha256}, {"sha256": self.spec.sha256})
        ours_parents = [parent.sha256 for parent in self.parents]
        if found.parents != ours_parents:
            names = {ancestor.sha256: ancestor.name for ancestor in found.ancestors}
            there = ", ".join(names.get(parent, parent[:12]) for parent in found.parents) or "nothing"
            asked = ", ".join(parent.base_name for parent in self.parents) or "nothing"
            same = " (other weights)" if there == asked else ""
            lines.append(f"made from: {short(there)} there, {short(asked)} asked for{same}")
        return lines


def _plain(record: Any) -> dict[str, Any]:
    return {} if record is None else dict(record.model_dump(mode="json"))


def _compared(prefix: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in sorted(found.keys() | wanted.keys()):
        theirs, ours = found.get(key), wanted.get(key)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            lines += _compared(f"{prefix}{key} ", theirs, ours)
        elif theirs != ours:
            lines.append(f"{prefix}{key}: {short(theirs)} there, {short(ours)} asked for")
    return lines


def plan_of(
    workspace: "Workspace",
    kind: Kind,
    settings: Mapping[str, Any],
    *,
    seed: int | None = None,
    parents: Sequence[Checkpoint] = (),
    spec: SpecRecord | None = None,
) -> Plan:
    """The plan of a file made in `workspace`; `spec` defaults to what the workspace's checkpoints recorded."""
    precision = {} if workspace.precision == "fp32" else {"precision": workspace.precision}
    # a table, so that no descendant inherits it
    dtype = {} if workspace.choices.dtype is None else {"write": {"dtype": workspace.choices.dtype}}
    return Plan(
        kind,
        {**settings, **precision, **dtype},
        seed,
        None if workspace.builder else workspace.architecture,
        workspace.data,
        spec or workspace.record,
        parents,
        workspace.directory,
    )


def standing(path: Path, wanted: Plan, *, force: bool) -> Metadata | None:
    """The metadata of a finished file that is just what `wanted` would make; None where it is still to be made.

    A file at `path` that is anything else is an error that says what differs, unless `force` is to overwrite it. So are
    other weights beside it that would be read in place of it.
    """
    refuse_other_weights(path, force=force)
    if is_index(path):
        check_shards(path, force=force)
    if force or not path.exists():
        return None
    try:
        found = checkpoint.read_metadata(path)[1]
    except StarcliError:
        found = Metadata()  # a file of another kind; it must not be overwritten either
    if found.run_id is None:
        raise StarcliError(f"{path}: exists; --force overwrites it")
    if found.run_id != wanted.run_id:
        raise StarcliError(f"{path}: exists and was made otherwise; --force overwrites it", wanted.differences(found))
    return found


def training_settings(parent: Checkpoint) -> dict[str, Any]:
    """The part of a parent's recipe that its descendants inherit: how it was trained, not how it was aligned."""
    return {key: value for key, value in (parent.metadata.recipe or {}).items() if not isinstance(value, Mapping)}


def inherited_recipe(parents: Sequence[Checkpoint]) -> "Recipe | None":
    """The training recipe that all `parents` share; None where they have none; a difference is an error.

    `compile` is not inherited: whether it pays depends on the run, and it is asked for each time.
    """
    from starcli.recipes.recipe import Recipe

    # weights from elsewhere record how they came here, not how they were trained
    found = [(parent, training_settings(parent)) for parent in parents]
    known = [(parent, theirs) for parent, theirs in found if theirs.keys() & Recipe.model_fields.keys()]
    for _, theirs in known:
        theirs.pop("compile", None)
    if not known:
        return None
    first, settings = known[0]
    # models of different networks are refused by their workspace, in better words
    problems = [
        f"{line.replace(' there', f' in {parent.name}').replace(' asked for', f' in {first.name}')}"
        for parent, theirs in known[1:]
        if parent.metadata.architecture == first.metadata.architecture
        for line in _compared("", theirs, settings)
    ]
    if problems:
        raise StarcliError("the models were trained by different recipes; --recipe decides", problems[:20])
    fields = {key: value for key, value in settings.items() if key in Recipe.model_fields}
    return Recipe.model_validate(fields)
