"""Plans of derived models: what they are made from and by which settings, for library and command line alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from starcli.errors import StarcliError
from starcli.symmetry.element import Element
from starcli.workspace.directories import directories_of
from starcli.workspace.plan import Plan, plan_of, training_settings

if TYPE_CHECKING:  # imported for every command that writes: nothing that it does not need
    from collections.abc import Sequence

    from starcli.alignment.alignment import Alignment
    from starcli.barriers.point import Point
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.metadata import Kind, SpecRecord
    from starcli.curves.settings import CurveSettings
    from starcli.fusion.fusing import Fusion
    from starcli.recipes.recipe import Recipe
    from starcli.runtime.progress import Progress
    from starcli.star.star_search import StarSearch
    from starcli.symmetry.symmetries import Symmetry
    from starcli.training.beginning import Beginning
    from starcli.workspace.workspace import Workspace


def spec_record(workspace: Workspace, watcher: Progress) -> SpecRecord | None:
    """The proved spec of a network about to be trained, recorded so that nothing later has to find it again.

    Training needs none: where none is found or none holds, a note says so, unless the user named one.
    """
    try:
        return workspace.spec.record()
    except StarcliError as error:
        if workspace.choices.spec is not None:
            raise
        watcher.note(f"no permutation spec is recorded: {error.summary}")
        return None


def training_plan(
    workspace: Workspace,
    recipe: Recipe,
    seed: int,
    spec: SpecRecord | None,
    beginning: Beginning | None = None,
    **how: Any,
) -> Plan:
    """Plan a network that is trained; `how`: what changes the result beyond rounding, or is asked for."""
    parents = [] if beginning is None else [beginning.model]
    how |= {} if beginning is None else beginning.settings()
    settings = {**recipe.settings(), **({"train": how} if how else {})}
    return plan_of(workspace, "model", settings, seed=seed, parents=parents, spec=spec)


def alignment_plans(
    workspace: Workspace,
    alignment: Alignment,
    reference: Checkpoint,
    model: Checkpoint,
    together: Sequence[Checkpoint] = (),
) -> tuple[Plan, Plan]:
    """Plan `model` aligned to `reference`, and the file of what aligns it.

    `together` are all models that are aligned jointly to it, if any are: these are parents, in any order.
    """
    others = sorted((each for each in together if each not in (reference, model)), key=lambda each: each.sha256)
    how = {**alignment.settings(), **alignment.kinds_in(workspace)}
    how |= {"joint": 1 + len(together)} if together else {}
    parents = [reference, model, *others]
    return _acting_plans(workspace, model, {"align": how}, parents, is_element=alignment.uses_kinds)


def permuted_plans(
    workspace: Workspace, model: Checkpoint, which: dict[str, Any], symmetry: Symmetry
) -> tuple[Plan, Plan]:
    """Plan `model` permuted, and the file of what permutes it, as one; `which` says which permutation or element."""
    return _acting_plans(workspace, model, {"permute": which}, [model], is_element=isinstance(symmetry, Element))


def normal_form_plans(workspace: Workspace, model: Checkpoint) -> tuple[Plan, Plan]:
    """Plan `model` in its normal form, and the file of the element that leads there."""
    how = {"normal_form": {"kinds": workspace.kinds.sha256}}
    return _acting_plans(workspace, model, how, [model], is_element=True)


def _acting_plans(
    workspace: Workspace, model: Checkpoint, how: dict[str, Any], parents: Sequence[Checkpoint], *, is_element: bool
) -> tuple[Plan, Plan]:
    """Plan `model` after a permutation or other element has acted on it, `how` says which, and the file of that."""
    spec, seed = workspace.spec.record(), model.metadata.seed
    settings = {**training_settings(model), **how}
    acted = plan_of(workspace, model.metadata.kind, settings, seed=seed, parents=parents, spec=spec)
    own, first = directories_of([model]), workspace.directory
    # what stands beside the weights is the model's; one without a tokenizer was read by that of the first
    if own and (own[0].tokenizer is not None or first is None or first.tokenizer is None):
        acted = replace(acted, directory=own[0])
    kind: Kind = "permutation"
    if is_element:
        kind, spec = "element", spec.model_copy(update={"kinds": workspace.kinds.sha256})
    return acted, plan_of(workspace, kind, how, seed=seed, parents=parents, spec=spec)


def point_plan(workspace: Workspace, models: Sequence[Checkpoint], point: Point, alignment: Alignment) -> Plan:
    """Plan a point between or around `models`, of which all but the first are aligned to it first.

    On a curve, whose nodes the models are then, it is the last one alone.
    """
    how: dict[str, Any] = {}
    if alignment.active:
        named = alignment.settings() | alignment.kinds_in(workspace)
        how = {("align_" + name if name != "restarts" else name): value for name, value in named.items()}
        how["align"] = how.pop("align_method")
    settings = {**training_settings(models[0]), "interpolate": {**point.settings(), **how}}
    spec = workspace.spec.record() if alignment.active else None
    return plan_of(workspace, "model", settings, parents=models, spec=spec)


def star_plan(
    workspace: Workspace,
    kind: Literal["star", "fused"],
    search: StarSearch,
) -> Plan:
    """Plan a star or a fused model; how held-out models are measured changes its log alone, which a run leaves too."""
    settings, init = search.settings, search.init
    how = {
        **settings.record(search.recipe),
        **settings.alignment.kinds_in(workspace),
        **(settings.renormalise.settings() if search.held_out else {}),
        "init": init.sha256 if init is not None else None,
        **({"grown": search.growth.record()} if search.growth is not None else {}),
        "held_out": [model.sha256 for model in search.held_out],
    }
    parents = [*search.sources, *([init] if init is not None else [])]
    spec = workspace.spec.record() if settings.alignment.active else None
    trained = {**search.recipe.settings(), kind: how}
    return plan_of(workspace, kind, trained, seed=search.seed, parents=parents, spec=spec)


def curve_plans(
    workspace: Workspace, ends: Sequence[Checkpoint], recipe: Recipe, seed: int, settings: CurveSettings
) -> list[Plan]:
    """Plan the bends of a curve between two models, in their order."""
    spec = workspace.spec.record() if settings.alignment.active else None
    return [
        plan_of(
            workspace,
            "bend",
            {**recipe.settings(), "curve": settings.record(bend, workspace)},
            seed=seed,
            parents=ends,
            spec=spec,
        )
        for bend in range(1, settings.bends + 1)
    ]


def fusion_plan(workspace: Workspace, sources: Sequence[Checkpoint], fusion: Fusion) -> Plan:
    """Plan a fused model that is no star; without training, it inherits the settings of its first source's."""
    training = training_settings(sources[0]) if fusion.recipe is None else fusion.recipe.settings()
    parents = [*sources, *(each for each in (fusion.init, fusion.base, fusion.star) if each is not None)]
    spec = workspace.spec.record() if fusion.alignment.active else None
    kinds = fusion.alignment.kinds_in(workspace) if fusion.init is None or fusion.star is not None else {}
    settings = {**training, "fused": fusion.record() | kinds}
    return plan_of(workspace, "fused", settings, seed=fusion.seed, parents=parents, spec=spec)
